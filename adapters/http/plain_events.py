"""The events of which a stream in OpenAI's dialect mostly consists, and what is read of any. Pure.

A server repeats in each of them all but a piece of text. Once one was read, what stands before and
behind its text is known, and another one that has both, and between them text that JSON writes as
it is, says the same of everything else: it need not be read as JSON.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from adapters.http.answers import is_broken
from adapters.http.token_counts import ONE_TOKEN, tokens_of_piece
from adapters.shapes.json_texts import UNREADABLE


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None

    def tokens(self) -> int:
        called = self.function
        if called is None:
            return 0
        return tokens_of_piece(called.name) + tokens_of_piece(called.arguments)


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class Choice(msgspec.Struct):
    """One of an event's choices."""

    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    error: Any = None

    def tokens(self) -> int:
        """About how many tokens of answer its usual fields hold."""
        delta = self.delta
        if delta is None:
            return tokens_of_piece(self.text)
        made = tokens_of_piece(delta.content)
        if delta.reasoning_content or delta.reasoning:
            made += tokens_of_piece(delta.reasoning_content or delta.reasoning)
        for called in delta.tool_calls or ():
            made += called.tokens()
        return made

    def may_have_failed(self) -> bool:
        """Whether it is worth a closer look."""
        return self.error is not None or is_broken(self.finish_reason)


class ReadEvent(msgspec.Struct):
    """What is read of an event."""

    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None
    object: str | None = None

    def may_have_failed(self) -> bool:
        """The same of the whole event."""
        if self.error is not None or self.object == "error" or not self.choices:
            return True
        return any(map(Choice.may_have_failed, self.choices))


decode = msgspec.json.Decoder(ReadEvent).decode


def plain_tokens(whole: bytes, begun: set[int]) -> tuple[int, int]:
    """The tokens and the number of events that hold nothing but pieces of an answer; no events
    where one of them holds more, or cannot be read. What choices they are of is added to
    ``begun``."""
    events = whole.split(b"\n\n")
    if events.pop():
        return 0, 0
    tokens = 0
    for event in events:
        if not event.startswith(b"data: {"):
            return 0, 0
        try:
            parsed = decode(event[6:])
        except UNREADABLE:
            return 0, 0
        if parsed.error is not None or parsed.usage is not None or not parsed.choices:
            return 0, 0
        for choice in parsed.choices:
            if choice.finish_reason is not None or choice.error is not None:
                return 0, 0
            delta = choice.delta
            text = None if delta is None else delta.content
            made = 1 if text and len(text) <= ONE_TOKEN else choice.tokens()
            if not made:
                return 0, 0
            begun.add(choice.index)
            tokens += made
    return tokens, len(events)


_AS_IT_IS = re.compile(rb"[ !#-\[\]-~]{1,%d}" % ONE_TOKEN).fullmatch
"""Text of one token that is its own JSON: printable ASCII without quotes and backslashes."""
_OTHER = b"~other text~"


class KnownEvent(msgspec.Struct, frozen=True):
    """A plain event without its text."""

    before: bytes
    behind: bytes

    def count(self, data: bytes) -> int:
        """How many events ``data`` is, each this one with another text, of one token; 0 where
        there is anything else."""
        before, behind = self.before, self.behind
        at = events = 0
        while at < len(data):
            if not data.startswith(before, at):
                return 0
            begins = at + len(before)
            ends = data.find(behind, begins)
            if ends < 0 or _AS_IT_IS(data, begins, ends) is None:
                return 0
            at = ends + len(behind)
            events += 1
        return events


def known_event(event: bytes) -> KnownEvent | None:
    """A plain event of one token, for those that follow; None where its text does not stand for
    itself, or elsewhere too."""
    text = _piece_of(event)
    if text is None or _AS_IT_IS(text) is None:
        return None
    before, _, behind = event.partition(b'"%b"' % text)
    known = KnownEvent(before + b'"', b'"' + behind)
    other = known.before + _OTHER + known.behind
    is_its_text = _piece_of(other) == _OTHER and plain_tokens(other, set()) == (1, 1)
    return known if is_its_text else None


def _piece_of(event: bytes) -> bytes | None:
    """The only text of a plain event."""
    try:
        choices = decode(event[6:]).choices
    except UNREADABLE:
        return None
    if choices is None or len(choices) != 1:
        return None
    delta = choices[0].delta
    text = choices[0].text if delta is None else delta.content or delta.reasoning_content
    return None if text is None else text.encode()
