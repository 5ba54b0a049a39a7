"""Chunks that are passed on in the instant in which they come: the stream is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import BackendError
from adapters.http.openai_calls import EventStream
from adapters.http.response import HIGH_WATER, Body
from adapters.http.sse import EventReader
from gateway.calls.stream_events import events_in
from gateway.clock import FakeClock
from tests.adapters.http.test_fuzz import split


def word(text: bytes, more: bytes = b"") -> bytes:
    return b'data: {"choices": [{"index": 0, "delta": {"content": "%b"}%b}]}\n\n' % (text, more)


EVENTS = st.sampled_from(
    [
        word(b" one"),
        word(b" two"),
        word(b"a, b; c"),
        word(b"content"),
        word(rb"\n\"quoted\""),
        word("größer".encode()),
        word(b"many tokens in one piece of text " * 3),
        word(b""),
        word(b" one", b', "finish_reason": "stop"'),
        word(b"{} ends it early").replace(b'"{}', b'"}'),
        word(b" one") + word(b" two"),
        word(b" one").replace(b"\n\n", b"\r\n\r\n"),
        b": a comment\n\n",
        b'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}\n\n',
        b'data: {"error": {"message": "lost"}}\n\n',
        b"data: no JSON\n\n",
        b"data: [DONE]\n\n",
    ]
)


class Source:
    """The exchange of a body that nobody sends."""

    deadline = 0.0
    resumed = 0

    def resume(self) -> None:
        self.resumed += 1

    def abort(self) -> None: ...
    def retire(self) -> None: ...


class Reading:
    """One stream, read to its end."""

    def __init__(self) -> None:
        self.body = Body(Source(), 200, [])
        self.stream = EventStream(self.body, FakeClock(), 0.0, EventReader(openai=True))
        self.given: list[bytes] = []
        self.pushed = 0
        self.tokens = 0
        self.outcome = "whole"

    def note(self, data: bytes, tokens: int | None) -> None:
        self.given.append(data)
        self.tokens += events_in(data) if tokens is None else tokens

    def push(self, takes: Callable[[], bool]) -> None:
        def take(data: bytes, tokens: int | None) -> bool:
            if not takes():
                return False
            self.note(data, tokens)
            self.pushed += 1
            return True

        self.stream.push_to(take)

    async def read(self) -> None:
        try:
            async for chunk in self.stream:
                self.note(chunk.data, chunk.tokens)
                if chunk.usage is not None:
                    self.outcome += f" {chunk.kind} {chunk.usage.output_tokens}"
        except BackendError as error:
            self.outcome = f"{error.failure} {error.message}"

    async def feed(self, pieces: list[tuple[bytes, bool]]) -> None:
        """Of each piece, whether the reader has its turn before the next comes."""
        reader = asyncio.create_task(self.read())
        await asyncio.sleep(0)
        for piece, turns in pieces:
            self.body.feed(piece)
            self.body.tell()
            if turns:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        self.body.end()
        await reader


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@given(
    events=st.lists(EVENTS, max_size=8),
    cuts=st.lists(st.integers(0, 600), max_size=8),
    turns=st.lists(st.booleans(), min_size=20, max_size=20),
    refusals=st.lists(st.booleans(), max_size=6),
)
def test_a_stream_is_the_same_whichever_of_its_chunks_are_pushed(
    events: list[bytes],
    cuts: list[int],
    turns: list[bool],
    refusals: list[bool],
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Whatever comes in which pieces, and whenever whoever takes them cannot: the same bytes in
    the same order, as many tokens, the same end."""
    pieces = split(word(b" begins") + b"".join(events), cuts)
    whole, pushed = Reading(), Reading()
    refused = iter(refusals)
    pushed.push(lambda: not next(refused, False))

    loop.run_until_complete(whole.feed([(piece, True) for piece in pieces]))
    loop.run_until_complete(pushed.feed(list(zip(pieces, turns, strict=False))))

    assert b"".join(pushed.given) == b"".join(whole.given)
    assert (pushed.tokens, pushed.outcome) == (whole.tokens, whole.outcome)


async def test_whoever_waits_is_not_woken_for_what_is_pushed() -> None:
    reading = Reading()
    reading.push(lambda: True)
    words = [(word(b" w%d" % number), True) for number in range(50)]
    end = word(b"", b', "finish_reason": "stop"') + b"data: [DONE]\n\n"

    await reading.feed([*words, (end, True)])

    assert reading.pushed == len(words) + 1  # with the one that says why it ends
    assert reading.outcome == "whole done None"


async def test_what_is_pushed_holds_no_connection_back_and_what_waits_does() -> None:
    reading, large = Reading(), b"x" * HIGH_WATER
    reading.push(lambda: True)
    reader = asyncio.create_task(reading.read())
    reading.body.feed(word(b"a"))
    reading.body.tell()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    reading.body.feed(word(large))
    assert not reading.body.tell()

    reader.cancel()
    reading.body.feed(word(large))
    assert reading.body.tell()
    await asyncio.wait([reader])
