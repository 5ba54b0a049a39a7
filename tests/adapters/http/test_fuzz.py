"""The connection and the event reader give the same answer however the bytes are split."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import BackendError
from adapters.http.connection import Body, HttpConnection, Response
from adapters.http.sse import EventReader
from adapters.types import Chunk
from tests.adapters.servers import answer, chunked


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Pool:
    def __init__(self) -> None:
        self.told: list[str] = []

    def released(self, connection: HttpConnection) -> None:
        self.told.append("released")

    def lost(self, connection: HttpConnection) -> None:
        self.told.append("lost")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def feed(
    loop: asyncio.AbstractEventLoop, pieces: list[bytes], *, whole: bool = True
) -> tuple[str, list[str]]:
    """What an exchange comes to, and what the pool is told, when these bytes arrive."""
    pool = Pool()
    connection = HttpConnection(pool, loop, max_response=100_000)
    connection.connection_made(Wire())
    future = connection.begin(b"GET / HTTP/1.1\r\n\r\n", deadline=1e9, whole=whole)
    for piece in pieces:
        connection.data_received(piece)
    connection.connection_lost(None)
    return outcome(future), pool.told


def outcome(future: asyncio.Future[Response | Body]) -> str:
    error = future.exception()
    if isinstance(error, BackendError):
        return error.failure.name
    result = future.result()
    assert isinstance(result, Response)
    return f"{result.status} {result.body!r}"


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places) if a < b]


ANSWERS = [
    answer(b"hello", X_A="1"),
    chunked(b"he", b"llo", content_type="text/plain"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"{}", 404),
    b"HTTP/1.1 200 OK\r\n\r\nuntil the close",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    chunked(b"x", end=False),
    answer(b"hello")[:-1],
    b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    b"\r\n\r\nnonsense\r\n\r\n",
    answer(b"hello") + b"more than was asked for",
]
CUTS = st.lists(st.integers(0, 400), max_size=12)


@settings(max_examples=150, deadline=None)
@given(reply=st.sampled_from(ANSWERS), cuts=CUTS)
def test_any_split_of_an_answer_comes_to_the_same(
    loop: asyncio.AbstractEventLoop, reply: bytes, cuts: list[int]
) -> None:
    """The result, and that the pool is told once that the connection is gone."""
    one, told = feed(loop, [reply])
    other, told_too = feed(loop, split(reply, cuts))
    assert other == one
    assert told.count("lost") == told_too.count("lost") == 1


@settings(max_examples=150, deadline=None)
@given(junk=st.binary(max_size=300), cuts=CUTS)
def test_any_bytes_at_all_come_to_an_answer_or_a_failure(
    loop: asyncio.AbstractEventLoop, junk: bytes, cuts: list[int]
) -> None:
    """No exception leaves the protocol, and the connection is always accounted for."""
    _, told = feed(loop, split(junk, cuts))
    assert told[-1] == "lost"


@settings(max_examples=100, deadline=None)
@given(tail=st.binary(min_size=1, max_size=60))
def test_an_answer_that_is_whole_is_not_undone_by_what_follows(
    loop: asyncio.AbstractEventLoop, tail: bytes
) -> None:
    result, told = feed(loop, [answer(b"hello") + tail])
    assert result == "200 b'hello'"
    assert "lost" in told


EVENTS = [
    b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"[DONE]"}}],"usage":null}\r\n\r\n',
    b": a comment\n\n",
    b'event: message\nid: 4\ndata: {"choices":[]}\n\n',
    b'data: {"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n',
    b'data: {"error":{"message":"bad","code":400}}\n\n',
    b"data: not json\n\n",
    b"data: [DONE]\n\n",
    b'data: {"choices":\ndata: []}\n\n',
]


def read_events(pieces: list[bytes]) -> tuple[bytes, list[Chunk], str]:
    """The bytes passed on, the chunks that are special, and the error."""
    reader = EventReader(openai=True)
    chunks: list[Chunk] = []
    for piece in pieces:
        chunks += reader.feed(piece)
    chunks += reader.end()
    data = b"".join(chunk.data for chunk in chunks)
    special = [chunk for chunk in chunks if chunk.kind != "data" or chunk.usage]
    return data, special, repr(reader.error)


@settings(max_examples=300, deadline=None)
@given(events=st.lists(st.sampled_from(EVENTS), max_size=8), cuts=CUTS, tail=st.booleans())
def test_any_split_of_a_stream_comes_to_the_same(
    events: list[bytes], cuts: list[int], tail: bool
) -> None:
    """Bytes, special events and the error; also when the stream stops inside an event."""
    data = b"".join(events) + (b'data: {"cho' if tail else b"")
    assert read_events(split(data, cuts)) == read_events([data])
