"""An answer's head and body leave in one write; what is no request is refused."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from starlette.types import Receive, Scope, Send

from tests.local_runtime.http.wire import (
    ASK,
    BLOCK,
    HEAD,
    Answers,
    Wire,
    protocol,
    said_by,
    tells_its_body,
    tells_its_path,
)


async def test_the_head_and_the_body_of_an_answer_leave_in_one_write() -> None:
    """One system call, and over TLS one record."""
    [answer] = (await said_by(tells_its_path, b"GET /a HTTP/1.1\r\nhost: g\r\n\r\n")).writes
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"/a"


async def test_what_was_written_leaves_before_the_connection_is_closed() -> None:
    """The client asked for one answer, and gets it."""
    wire = await said_by(tells_its_path, b"GET /a HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n")
    assert wire.closed
    assert b"".join(wire.writes).endswith(b"/a")


async def test_a_request_that_is_no_http_is_told_so() -> None:
    wire = await said_by(tells_its_path, b"\x16\x03\x01 hello\r\n\r\n")
    assert b"".join(wire.writes).startswith(b"HTTP/1.1 400")
    assert wire.closed


async def test_what_is_no_http_is_refused_in_the_shape_of_every_other_error() -> None:
    wire = await said_by(tells_its_path, b"BREW /tea HTTP/1.1\r\n\r\n")
    head, _, body = b"".join(wire.writes).partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert b"content-length: %d" % len(body) in head
    assert set(json.loads(body)["error"]) == {"message", "type", "code", "param"}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /a HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /a HTTP/1.1\r\nhost: g\r\nHost: h\r\n\r\n", b"400"),
        (b"POST /a HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi", b"400"),
        (b"GET /a HTTP/1.1\r\nhost: \r\n\r\n", b"200"),
        (b"GET /a HTTP/1.0\r\n\r\n", b"200"),
    ],
    ids=["none", "two", "none, and a body", "one without a name", "none of HTTP/1.0"],
)
async def test_a_request_says_once_whose_it_is(head: bytes, status: bytes) -> None:
    """RFC 9112, 3.2; and nothing that follows is taken for a request."""
    wire = await said_by(tells_its_path, head + ASK)
    said = b"".join(wire.writes)
    statuses = re.findall(rb"HTTP/1.1 (\d{3})", said)
    if status == b"400":
        assert wire.closed
        assert statuses == [status]
        assert b"one Host header" in said
    else:
        assert statuses[0] == status


@pytest.mark.parametrize(
    "begins",
    [
        b"GET /",
        HEAD + b"x-endless: ",
        HEAD,
        HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n1;",
    ],
    ids=["target", "one header", "headers", "trailers", "chunk extension"],
)
async def test_what_never_ends_is_refused_before_it_fills_the_memory(begins: bytes) -> None:
    """Whoever it is: a key is not asked for until the head has ended."""
    more = b"".join(b"h%d:v\r\n" % number for number in range(500))
    endless = more if begins.endswith(b"\n") else b"a" * len(more)
    wire, connection = Wire(), protocol(tells_its_body)
    connection.connection_made(wire)
    connection.data_received(begins)
    sent = 0
    while not wire.closed:
        connection.data_received(endless)
        sent += len(endless)
        assert sent < 70_000
    assert b"".join(wire.writes).startswith(b"HTTP/1.1 431 ")
    connection.connection_lost(None)
    await asyncio.gather(*connection.state.tasks)


async def test_a_long_body_and_many_requests_at_once_are_no_endless_head() -> None:
    body = b"x" * 300_000
    long = HEAD + b"content-length: %d\r\n\r\n" % len(body)
    wire = await said_by(tells_its_body, long, body[:150_000], body[150_000:])
    assert b"".join(wire.writes).endswith(body)
    large = b"GET /a HTTP/1.1\r\nhost: g\r\nx-pad: " + b"a" * 30_000 + b"\r\n\r\n"
    wire = await said_by(tells_its_path, large * 5, large[:9], large[9:])
    assert b"".join(wire.writes).count(b"HTTP/1.1 200") == 6


UPGRADE = (
    b"host: g\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nHTTP2-Settings: AA\r\n"
)


@pytest.mark.parametrize(
    "parts",
    [
        [b"POST /a HTTP/1.1\r\n" + UPGRADE + b"content-length: 5\r\n\r\nhello"],
        [b"POST /a HTTP/1.1\r\n" + UPGRADE + b"content-length: 5\r\n\r\nhe", b"llo"],
        [
            b"POST /a HTTP/1.1\r\n" + UPGRADE + b"transfer-encoding: chunked\r\n\r\n2\r\nhe",
            b"\r\n3\r\nllo\r\n0\r\n\r\n",
        ],
        [
            b"POST /a HTTP/1.1\r\n" + UPGRADE + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"0\r\n\r\n" + ASK,
            ASK,
        ],
    ],
    ids=["at once", "in two", "chunked", "with another behind it"],
)
async def test_a_client_that_would_rather_speak_http_2_is_answered_all_the_same(
    parts: list[bytes],
) -> None:
    """Java's own client asks for it with its first request on every plain connection."""
    wire = await said_by(tells_its_body, *parts)
    assert b"".join(wire.writes).endswith(b"\r\n\r\nhello")
    assert wire.closed


async def test_a_get_that_asks_for_another_protocol_is_answered_in_this_one() -> None:
    wire = await said_by(tells_its_path, b"GET /a HTTP/1.1\r\n" + UPGRADE + b"\r\n")
    assert b"".join(wire.writes).endswith(b"\r\n\r\n/a")


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\x00b"])
async def test_no_header_smuggles_a_line_into_the_head(value: bytes) -> None:
    written = b"".join((await said_by(Answers([(b"x-model", value)]))).writes)
    assert written.startswith(b"HTTP/1.1 500 ")
    assert value not in written


async def test_an_answer_of_unknown_length_is_chunked() -> None:
    written = b"".join((await said_by(Answers([], b"hello"))).writes)
    assert b"\r\ntransfer-encoding: chunked\r\n" in written
    assert written.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_may_have_no_body_says_nothing_of_one(status: int) -> None:
    written = b"".join((await said_by(Answers([], status=status))).writes)
    assert b"transfer-encoding" not in written
    assert written.endswith(b"\r\n\r\n")


async def test_a_head_request_gets_the_head_alone() -> None:
    ask = b"HEAD /a HTTP/1.1\r\nhost: g\r\n\r\n"
    wire = await said_by(Answers([(b"content-length", b"5")], b"hello"), ask)
    written = b"".join(wire.writes)
    assert b"content-length: 5\r\n" in written
    assert written.endswith(b"\r\n\r\n")


async def test_an_answer_that_closes_the_connection_says_so_once() -> None:
    wire = await said_by(Answers([(b"connection", b"close"), (b"content-length", b"0")]))
    assert b"".join(wire.writes).count(b"connection: close\r\n") == 1
    assert wire.closed


async def test_a_large_body_is_not_copied_behind_its_head() -> None:
    headers = [(b"content-length", str(2 * len(BLOCK)).encode())]
    assert len((await said_by(Answers(headers, 2 * BLOCK))).writes) == 2


async def test_an_escaped_path_and_a_query_arrive_apart() -> None:
    wire = await said_by(tells_its_path, b"GET /a%20b?c=d HTTP/1.1\r\nhost: g\r\n\r\n")
    assert b"".join(wire.writes).endswith(b"\r\n\r\n/a b")


async def test_what_follows_a_body_in_chunks_is_no_header() -> None:
    """Whoever stands before this server and checks its heads has not seen it."""

    async def tells_its_user(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        named = dict(scope["headers"]).get(b"x-user", b"nobody")
        await Answers([(b"content-length", b"%d" % len(named))], named)(scope, receive, send)

    chunks = HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-user: root\r\n\r\n"
    wire = await said_by(tells_its_user, chunks)
    assert b"".join(wire.writes).endswith(b"\r\n\r\nnobody")


async def test_a_wish_for_another_protocol_with_a_body_that_cannot_be_framed_is_refused() -> None:
    wish = b"connection: upgrade\r\nupgrade: websocket\r\ntransfer-encoding: xchunked\r\n\r\n"
    wire = await said_by(tells_its_body, HEAD + wish + b"abc")
    assert wire.writes[0].startswith(b"HTTP/1.1 400 ")
    assert wire.closed


async def test_http_1_0_hears_no_interim_answer() -> None:
    ask = b"POST /a HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\na"
    wire = await said_by(tells_its_body, ask)
    assert wire.writes[0].startswith(b"HTTP/1.1 200 ")
