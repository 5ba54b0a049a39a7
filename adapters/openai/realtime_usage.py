"""What a realtime session has used, by the events that pass through it. Pure.

A response tells its tokens in ``response.done``; until then, and of one that never tells, they are
estimated: of text as everywhere, of sound by its length (PCM of 24 kHz: 20 tokens a second, 10 of a
caller's), which is charged as sound, and what it reads as all that was said before it.

Source: https://platform.openai.com/docs/guides/realtime-costs,
https://platform.openai.com/docs/api-reference/realtime-server-events, as of 2026-11.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from adapters.http.stated_usage import told, usage_in
from adapters.http.token_counts import tokens_of_piece
from adapters.realtime.caller_events import caller_event
from adapters.shapes.json_texts import UNREADABLE, read_if
from adapters.types import TokenParts, Usage

_SENT_PER_TOKEN = 6400
"""Characters of base64 in which a caller's sound of 24 kHz is a token: a tenth of a second."""
_MADE_PER_TOKEN = 3200
_BYTES_PER_TOKEN = 4
_SOUND = frozenset(("response.output_audio.delta", "response.audio.delta"))
_QUOTES = 2
_PARTS = TokenParts.__struct_fields__


class RealtimeEvent(msgspec.Struct):
    """What is read of a server's event."""

    type: str = ""
    delta: msgspec.Raw = msgspec.Raw(b"null")
    response: msgspec.Raw = msgspec.Raw(b"null")
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Done(msgspec.Struct):
    usage: Any = None


class _Tokens(NamedTuple):
    """``all`` of some, among them those of ``sound``."""

    all: int = 0
    sound: int = 0

    def plus(self, other: _Tokens) -> _Tokens:
        return _Tokens(self.all + other.all, self.sound + other.sound)


class RealtimeMeter:
    """One session's usage: ``used`` so far, with an estimate of a response that is under way."""

    def __init__(self) -> None:
        self._stated = Usage(input_tokens=0, output_tokens=0)
        self._written = 0
        """Tokens of text of the response under way."""
        self._spoken = 0
        """Characters of its sound."""
        self._said = _Tokens()
        """About what all is that was said before it."""
        self._sound = 0
        """Characters of a caller's sound that are no whole token yet."""
        self._guessed = False

    def sent(self, message: bytes) -> None:
        """The caller sent an event. What is none costs nothing."""
        try:
            event = caller_event(message)
        except UNREADABLE:
            return
        sound, self._sound = divmod(self._sound + event.sound, _SENT_PER_TOKEN)
        text = event.text // _BYTES_PER_TOKEN
        self._said = self._said.plus(_Tokens(text + sound, sound))

    def received(self, event: RealtimeEvent) -> None:
        """The server sent an event."""
        if event.type in _SOUND:
            self._spoken += max(len(event.delta) - _QUOTES, 0)
        elif event.type.endswith(".delta"):
            text = read_if(event.delta, Any)
            self._written += tokens_of_piece(text) if isinstance(text, str) else 0
        elif event.type == "response.done":
            done = read_if(event.response, _Done)
            self._respond(usage_in(None if done is None else done.usage))
        elif event.usage != b"null":  # such as that of a transcription beside the session
            self._stated = _sum(self._stated, usage_in(read_if(event.usage, Any)))

    def _respond(self, said: Usage) -> None:
        if told(said):
            self._said = _all_of(said)
        else:
            if self._made.all:
                self._guessed = True
                said = self._estimate
            self._said = self._said.plus(self._made)
        self._stated = _sum(self._stated, said)
        self._written = self._spoken = 0

    @property
    def _made(self) -> _Tokens:
        sound = -(-self._spoken // _MADE_PER_TOKEN)
        return _Tokens(self._written + sound, sound)

    @property
    def _estimate(self) -> Usage:
        read, made = self._said, self._made
        parts = TokenParts(audio_input=read.sound, audio_output=made.sound)
        has_sound = read.sound or made.sound
        return Usage(
            input_tokens=read.all,
            output_tokens=made.all,
            parts=parts if has_sound else None,
        )

    @property
    def used(self) -> Usage:
        """Marked by ``text_tokens`` where a part of it is an estimate."""
        usage = self._stated
        if self._made.all:
            usage = _sum(usage, self._estimate)
        if self._made.all or self._guessed:
            usage = msgspec.structs.replace(usage, text_tokens=usage.output_tokens)
        return usage


def _all_of(said: Usage) -> _Tokens:
    """What a response read and wrote, as the next one will read it."""
    parts = said.parts or TokenParts()
    tokens = (said.input_tokens or 0) + (said.output_tokens or 0)
    sound = parts.audio_input + parts.cached_audio + parts.audio_output
    return _Tokens(tokens, min(sound, tokens))


def _sum(one: Usage, other: Usage) -> Usage:
    given = (one.input_tokens or 0) + (other.input_tokens or 0)
    made = (one.output_tokens or 0) + (other.output_tokens or 0)
    if other.input_tokens is other.output_tokens is None:
        given += other.total_tokens or 0
    audio_s = one.audio_s
    if other.audio_s is not None:
        audio_s = (audio_s or 0.0) + other.audio_s
    parts = _sum_of_parts(one.parts, other.parts)
    return Usage(input_tokens=given, output_tokens=made, parts=parts, audio_s=audio_s)


def _sum_of_parts(one: TokenParts | None, other: TokenParts | None) -> TokenParts | None:
    if one is None or other is None:
        return one or other
    return TokenParts(**{name: getattr(one, name) + getattr(other, name) for name in _PARTS})
