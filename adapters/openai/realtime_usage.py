"""What a realtime session has used, by the events that pass through it. Pure.

A response tells its tokens in ``response.done``; until then, and of one that never tells, they are
estimated: of text as everywhere, of sound by its length (PCM of 24 kHz: 20 tokens a second), and
what it reads as all that was said before it.

Source: https://platform.openai.com/docs/guides/realtime-costs,
https://platform.openai.com/docs/api-reference/realtime-server-events, as of 2026-11.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.http.failures import read_if
from adapters.http.stated_usage import told, usage_in
from adapters.http.token_counts import tokens_of_piece
from adapters.types import TokenParts, Usage

_SENT_PER_TOKEN = 6400
"""Characters of base64 in which a caller's sound of 24 kHz is a token: a tenth of a second."""
_MADE_PER_TOKEN = 3200
_BYTES_PER_TOKEN = 4
_SOUND = frozenset(("response.output_audio.delta", "response.audio.delta"))
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


class RealtimeMeter:
    """One session's usage: ``used`` so far, with an estimate of a response that is under way."""

    def __init__(self) -> None:
        self._stated = Usage(input_tokens=0, output_tokens=0)
        self._made = 0
        """Tokens of the response under way."""
        self._said = 0
        """About how many tokens all is that was said before."""
        self._guessed = False

    def sent(self, message: bytes) -> None:
        """The caller sent an event."""
        sound = b'"input_audio_buffer.append"' in message[:200]
        self._said += len(message) // (_SENT_PER_TOKEN if sound else _BYTES_PER_TOKEN)

    def received(self, event: RealtimeEvent) -> None:
        """The server sent an event."""
        if event.type.endswith(".delta"):
            self._made += _tokens_of(event)
        elif event.type == "response.done":
            done = read_if(event.response, _Done)
            self._respond(usage_in(None if done is None else done.usage))
        elif event.usage != b"null":  # such as that of a transcription beside the session
            self._stated = _sum(self._stated, usage_in(read_if(event.usage, Any)))

    def _respond(self, said: Usage) -> None:
        if told(said):
            self._said = (said.input_tokens or 0) + (said.output_tokens or 0)
        else:
            if self._made:
                self._guessed = True
                said = Usage(input_tokens=self._said, output_tokens=self._made)
            self._said += self._made
        self._stated, self._made = _sum(self._stated, said), 0

    @property
    def used(self) -> Usage:
        """Marked by ``text_tokens`` where a part of it is an estimate."""
        usage = self._stated
        if self._made:
            usage = _sum(usage, Usage(input_tokens=self._said, output_tokens=self._made))
        if self._made or self._guessed:
            usage = msgspec.structs.replace(usage, text_tokens=usage.output_tokens)
        return usage


def _tokens_of(event: RealtimeEvent) -> int:
    if event.type in _SOUND:
        return -(-len(event.delta) // _MADE_PER_TOKEN)
    text = read_if(event.delta, Any)
    return tokens_of_piece(text) if isinstance(text, str) else 0


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
