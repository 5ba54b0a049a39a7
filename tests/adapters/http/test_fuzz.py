"""The connection and the event reader, whatever becomes of the bytes that a server means."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Literal

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapters.errors import BackendError
from adapters.http.connection import Exchange, HttpConnection
from adapters.http.response import Body, Response
from adapters.http.sse import EventReader
from adapters.types import Chunk
from tests.adapters.servers import answer


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
    """Notes what it is told of its one connection."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def released(self, connection: HttpConnection) -> None:
        self.heard.append("released")

    def lost(self, connection: HttpConnection) -> None:
        self.heard.append("lost")

    def answering(self, exchange: Exchange) -> None:
        self.heard.append("answering")


class Exchanges:
    """A connection outside of any pool, and what comes of each request over it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.pool = Pool()
        self.wire = Wire()
        self.connection = HttpConnection(self.pool, loop, max_response=100_000)
        self.connection.connection_made(self.wire)

    def begin(self, *, whole: bool) -> asyncio.Future[Response | Body]:
        request = b"GET / HTTP/1.1\r\n\r\n"
        return self.connection.begin(request, deadline=1e9, whole=whole).answer

    def receive(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.connection.data_received(piece)

    def close(self) -> None:
        self.connection.connection_lost(None)

    def outcome(self, answer: asyncio.Future[Response | Body]) -> str:
        """Status and body, a failure's name where it broke off."""
        return self._loop.run_until_complete(outcome_of(answer))


async def outcome_of(answer: asyncio.Future[Response | Body]) -> str:
    try:
        found = await answer
    except BackendError as error:
        return error.failure.name
    if isinstance(found, Response):
        return f"{found.status} {found.body!r}"
    parts: list[bytes] = []
    try:
        while data := await found.read():
            parts.append(data)
    except BackendError as error:
        return f"{found.status} {b''.join(parts)!r} {error.failure.name}"
    return f"{found.status} {b''.join(parts)!r}"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places) if a < b]


# --- what a server means --------------------------------------------------------------------------


class Meant(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as a server means it: known byte by byte without a parser."""

    status: int
    pieces: list[bytes]
    framing: Literal["length", "chunked", "close"]
    keep: bool
    """The server takes another request."""
    interim: int = 0
    """Answers of 1xx before it."""
    extension: bytes = b""
    """Of each chunk's size."""
    trailer: bytes = b""

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def head(self) -> bytes:
        lines = [b"HTTP/1.1 %d As It Is" % self.status, b"X-Kind: odd"]
        lines += {
            "length": [b"Content-Length: %d" % len(self.body)],
            "chunked": [b"Transfer-Encoding: chunked"],
            "close": [],
        }[self.framing]
        lines += [] if self.keep else [b"Connection: close"]
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        return early * self.interim + b"\r\n".join(lines) + b"\r\n\r\n"

    @property
    def parts(self) -> list[tuple[bytes, bool]]:
        """The bytes on the wire, and whether each is of the body."""
        parts = [(self.head, False)]
        for piece in filter(None, self.pieces):
            if self.framing == "chunked":
                parts.append((b"%x%b\r\n" % (len(piece), self.extension), False))
            parts.append((piece, True))
            if self.framing == "chunked":
                parts.append((b"\r\n", False))
        if self.framing == "chunked":
            parts.append((b"0\r\n" + self.trailer + b"\r\n", False))
        return parts

    @property
    def wire(self) -> bytes:
        return b"".join(part for part, _ in self.parts)

    @property
    def reusable(self) -> bool:
        return self.keep and self.framing != "close"

    def arrived(self, size: int) -> bytes:
        """The body in the first so many bytes of the wire."""
        body, left = b"", size
        for part, is_body in self.parts:
            body += part[: max(0, left)] if is_body else b""
            left -= len(part)
        return body

    def outcome(self, size: int, *, whole: bool) -> str:
        """What must come of it where the connection ends after so many bytes."""
        if size < len(self.head):
            return "AMBIGUOUS"
        body = self.arrived(size)
        if self.framing == "close" or size == len(self.wire):
            return f"{self.status} {body!r}"
        if not whole:
            return f"{self.status} {body!r} TRUNCATED"
        return f"{self.status} b''" if self.status >= 300 else "TRUNCATED"


MEANT = st.builds(
    Meant,
    status=st.sampled_from([200, 201, 302, 404, 429, 500, 503]),
    pieces=st.lists(st.binary(max_size=40), max_size=4),
    framing=st.sampled_from(["length", "chunked", "close"]),
    keep=st.booleans(),
    interim=st.integers(0, 2),
    extension=st.sampled_from([b"", b";name=value"]),
    trailer=st.sampled_from([b"", b"Etag: 1\r\n"]),
)
CUTS = st.lists(st.integers(0, 400), max_size=12)


@settings(max_examples=200, deadline=None)
@given(first=MEANT, second=MEANT, cuts=CUTS, whole=st.booleans())
def test_an_answer_is_what_the_server_meant_and_the_next_one_too(
    loop: asyncio.AbstractEventLoop, first: Meant, second: Meant, cuts: list[int], whole: bool
) -> None:
    """However its bytes are split; the connection is used again where the server keeps it."""
    exchanges = Exchanges(loop)
    answer = exchanges.begin(whole=whole)
    exchanges.receive(split(first.wire, cuts))
    if first.framing == "close":
        assert exchanges.pool.heard == []
        exchanges.close()
    assert exchanges.outcome(answer) == first.outcome(len(first.wire), whole=whole)
    assert exchanges.pool.heard == (["released"] if first.reusable else ["lost"])
    assert exchanges.connection.usable is first.reusable
    if first.reusable:
        answer = exchanges.begin(whole=whole)
        exchanges.receive(split(second.wire, cuts))
        exchanges.close()
        assert exchanges.outcome(answer) == second.outcome(len(second.wire), whole=whole)


@settings(max_examples=300, deadline=None)
@given(meant=MEANT, end=st.integers(0, 400), cuts=CUTS, whole=st.booleans())
def test_an_answer_that_is_cut_is_never_taken_for_a_whole_one(
    loop: asyncio.AbstractEventLoop, meant: Meant, end: int, cuts: list[int], whole: bool
) -> None:
    """Where it is told by its framing: before its head is whole nobody knows whether the call
    ran, and a refusal's head says all that counts of it."""
    size = end % (len(meant.wire) + 1)
    exchanges = Exchanges(loop)
    answer = exchanges.begin(whole=whole)
    exchanges.receive(split(meant.wire[:size], cuts))
    exchanges.close()
    assert exchanges.outcome(answer) == meant.outcome(size, whole=whole)
    assert exchanges.pool.heard.count("lost") == 1
    assert ("released" in exchanges.pool.heard) is (meant.reusable and size == len(meant.wire))


@settings(max_examples=150, deadline=None)
@given(meant=MEANT, tail=st.binary(min_size=1, max_size=60), cuts=CUTS)
def test_what_follows_a_whole_answer_undoes_nothing_and_ends_the_connection(
    loop: asyncio.AbstractEventLoop, meant: Meant, tail: bytes, cuts: list[int]
) -> None:
    """Also where it comes with the answer's last bytes, or is another answer. Line breaks are no
    more than that."""
    assume(tail.strip(b"\r\n"))
    kept = msgspec.structs.replace(
        meant, keep=True, framing="length" if meant.framing == "close" else meant.framing
    )
    for babble in (tail, kept.wire):
        exchanges = Exchanges(loop)
        answer = exchanges.begin(whole=True)
        exchanges.receive(split(kept.wire + babble, cuts))
        assert exchanges.outcome(answer) == kept.outcome(len(kept.wire), whole=True)
        assert exchanges.pool.heard == ["released", "lost"]
        assert not exchanges.connection.usable
        assert exchanges.wire.aborted


PROTOCOLS = (b"HTTP/1.1 ", b"RTSP/", b"ICE/")
"""What llhttp takes for the beginning of an answer."""


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=300), cuts=CUTS, whole=st.booleans())
def test_bytes_that_are_no_http_are_a_failure_and_no_answer(
    loop: asyncio.AbstractEventLoop, junk: bytes, cuts: list[int], whole: bool
) -> None:
    """MALFORMED, as soon as they cannot become an answer; before that, a connection that ended."""
    said = junk.lstrip(b"\r\n")
    exchanges = Exchanges(loop)
    answer = exchanges.begin(whole=whole)
    exchanges.receive(split(junk, cuts))
    exchanges.close()
    begun = any(protocol.startswith(said) for protocol in PROTOCOLS)
    assert exchanges.outcome(answer) == ("AMBIGUOUS" if begun else "MALFORMED")
    assert exchanges.pool.heard == ["lost"]
    assert exchanges.wire.aborted


@settings(max_examples=300, deadline=None)
@given(
    meant=MEANT,
    at=st.integers(0, 400),
    byte=st.integers(0, 255),
    cuts=CUTS,
    whole=st.booleans(),
)
def test_a_byte_that_is_wrong_comes_to_the_same_however_it_is_split(
    loop: asyncio.AbstractEventLoop,
    meant: Meant,
    at: int,
    byte: int,
    cuts: list[int],
    whole: bool,
) -> None:
    """And where it stands in the head, no connection is used again without an answer."""
    place = at % len(meant.wire)
    wire = meant.wire[:place] + bytes([byte]) + meant.wire[place + 1 :]
    found = []
    for pieces in ([wire], split(wire, cuts)):
        exchanges = Exchanges(loop)
        answer = exchanges.begin(whole=whole)
        exchanges.receive(pieces)
        exchanges.close()
        found.append((exchanges.outcome(answer), exchanges.pool.heard))
    assert found[0] == found[1]
    outcome, heard = found[0]
    assert heard.count("lost") == 1
    if "released" in heard:
        assert outcome[0].isdigit()
        assert "TRUNCATED" not in outcome


ANSWERS = {
    "200 b'hello'": answer(b"hello", X_A="1"),
    "204 b''": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304 b''": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    "MALFORMED": b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
}


@settings(max_examples=80, deadline=None)
@given(expected=st.sampled_from(sorted(ANSWERS)), cuts=CUTS)
def test_answers_without_a_body_and_with_a_wrong_length(
    loop: asyncio.AbstractEventLoop, expected: str, cuts: list[int]
) -> None:
    exchanges = Exchanges(loop)
    found = exchanges.begin(whole=True)
    exchanges.receive(split(ANSWERS[expected], cuts))
    exchanges.close()
    assert exchanges.outcome(found) == expected


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
