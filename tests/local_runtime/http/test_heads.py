"""What a request's head may say: one table of those that are answered, and those that are not.

Whatever a server on the way could read in another way than this one is refused (RFC 9112, 11.2),
and nothing that follows is taken for a request.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import pytest
from starlette.types import Receive, Scope, Send

from tests.local_runtime.http.wire import ASK, Answers, said_by

POST = b"POST /a HTTP/1.1\r\nhost: g\r\n"
CHUNKS = b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


async def tells_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Target, Host and body of a request, as the app has them."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    hosts = [value.decode() for name, value in scope["headers"] if name == b"host"]
    told = [scope["path"], scope["query_string"].decode(), hosts, body.decode()]
    said = json.dumps(told).encode()
    await Answers([(b"content-length", b"%d" % len(said))], said)(scope, receive, send)


class Said(NamedTuple):
    statuses: list[int]
    bodies: list[bytes]
    is_closed: bool


async def said(*parts: bytes) -> Said:
    wire = await said_by(tells_all, *parts)
    answers = re.split(rb"HTTP/1\.1 (?=\d{3} )", b"".join(wire.writes))[1:]
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in answers]
    return Said([int(answer[:3]) for answer in answers], bodies, wire.closed)


def in_pieces(sent: bytes) -> list[bytes]:
    """As it comes by a network that cuts wherever it likes."""
    return [sent[at : at + 7] for at in range(0, len(sent), 7)]


REFUSED: dict[str, tuple[bytes, int]] = {
    # where the body ends
    "gzip, chunked": (POST + b"transfer-encoding: gzip, chunked" + CHUNKS, 501),
    "gzip and chunked in two lines": (
        POST + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked" + CHUNKS,
        501,
    ),
    "chunked, gzip": (POST + b"transfer-encoding: chunked, gzip" + CHUNKS, 400),
    "gzip alone": (POST + b"transfer-encoding: gzip\r\n\r\nhello", 400),
    "identity": (POST + b"transfer-encoding: identity\r\n\r\nhello", 400),
    "chunked twice": (POST + b"transfer-encoding: chunked, chunked" + CHUNKS, 400),
    "chunked in two lines": (
        POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked" + CHUNKS,
        400,
    ),
    "chunked with a parameter": (POST + b"transfer-encoding: chunked;q=1" + CHUNKS, 400),
    "something like chunked": (POST + b"transfer-encoding: xchunked" + CHUNKS, 400),
    "chunked behind a vertical tab": (POST + b"transfer-encoding: \x0bchunked" + CHUNKS, 400),
    "no coding": (POST + b"transfer-encoding:\r\n\r\n", 400),
    "a blank before the colon": (POST + b"transfer-encoding : chunked" + CHUNKS, 400),
    "a folded coding": (POST + b"transfer-encoding:\r\n chunked" + CHUNKS, 400),
    "chunks of HTTP/1.0": (
        b"POST /a HTTP/1.0\r\nhost: g\r\ntransfer-encoding: chunked" + CHUNKS,
        400,
    ),
    "a length before chunks": (
        POST + b"content-length: 5\r\ntransfer-encoding: chunked" + CHUNKS,
        400,
    ),
    "a length behind chunks": (
        POST + b"transfer-encoding: chunked\r\ncontent-length: 5" + CHUNKS,
        400,
    ),
    "two lengths": (POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400),
    "the same length twice": (POST + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc", 400),
    "a list of lengths": (POST + b"content-length: 3, 3\r\n\r\nabc", 400),
    "a signed length": (POST + b"content-length: +3\r\n\r\nabc", 400),
    "a length of 2**64": (POST + b"content-length: 18446744073709551616\r\n\r\n", 400),
    "a folded length": (POST + b"content-length:\r\n 3\r\n\r\nabc", 400),
    "a hexadecimal length": (POST + b"content-length: 0x3\r\n\r\nabc", 400),
    # how lines end
    "line feeds alone": (b"GET /a HTTP/1.1\nhost: g\n\n", 400),
    "one line feed alone": (b"GET /a HTTP/1.1\r\nhost: g\nx: y\r\n\r\n", 400),
    "a line feed for the last line": (b"GET /a HTTP/1.1\r\nhost: g\r\n\n", 400),
    "a carriage return alone": (b"GET /a HTTP/1.1\r\nhost: g\rx: y\r\n\r\n", 400),
    "a folded header": (b"GET /a HTTP/1.1\r\nhost: g\r\nx: 1\r\n 2\r\n\r\n", 400),
    "a folded first header": (b"GET /a HTTP/1.1\r\n x: y\r\nhost: g\r\n\r\n", 400),
    "a NUL": (b"GET /a HTTP/1.1\r\nhost: g\r\nx: a\0b\r\n\r\n", 400),
    "a header without a name": (b"GET /a HTTP/1.1\r\nhost: g\r\n: y\r\n\r\n", 400),
    "a header without a colon": (b"GET /a HTTP/1.1\r\nhost: g\r\nx\r\n\r\n", 400),
    # which protocol it is
    "HTTP/2.0": (b"GET /a HTTP/2.0\r\nhost: g\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /a HTTP/0.9\r\nhost: g\r\n\r\n", 505),
    "a line of HTTP/0.9": (b"GET /a\r\n\r\n", 505),
    "HTTP/2 from the first word on": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/1.2": (b"GET /a HTTP/1.2\r\nhost: g\r\n\r\n", 400),
    "RTSP": (b"GET /a RTSP/1.0\r\nhost: g\r\n\r\n", 400),
    "a method of RTSP": (b"DESCRIBE /a RTSP/1.0\r\nhost: g\r\n\r\n", 400),
    "RTSP that asks what there is": (b"OPTIONS * RTSP/1.0\r\ncseq: 1\r\n\r\n", 400),
    "ICE": (b"SOURCE /a ICE/1.0\r\nhost: g\r\n\r\n", 400),
    # whose it is
    "no Host": (b"GET /a HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET /a HTTP/1.1\r\nhost: g\r\nHost: g\r\n\r\n", 400),
    "two Hosts of HTTP/1.0": (b"GET /a HTTP/1.0\r\nhost: g\r\nhost: h\r\n\r\n", 400),
    "a blank in the Host": (b"GET /a HTTP/1.1\r\nhost: g h\r\n\r\n", 400),
    "a list of Hosts": (b"GET /a HTTP/1.1\r\nhost: g, h\r\n\r\n", 400),
    "somebody at a Host": (b"GET /a HTTP/1.1\r\nhost: me@g\r\n\r\n", 400),
    "a Host whose port is none": (b"GET /a HTTP/1.1\r\nhost: g:http\r\n\r\n", 400),
    "a Host with two ports": (b"GET /a HTTP/1.1\r\nhost: g:80:80\r\n\r\n", 400),
    "a Host with a path": (b"GET /a HTTP/1.1\r\nhost: g/a\r\n\r\n", 400),
    "a Host in brackets that is none": (b"GET /a HTTP/1.1\r\nhost: [g]\r\n\r\n", 400),
    "a Host beyond ASCII": (b"GET /a HTTP/1.1\r\nhost: \xc3\xa4\r\n\r\n", 400),
    "a Host with half an escape": (b"GET /a HTTP/1.1\r\nhost: g%4\r\n\r\n", 400),
    "an empty Host beside a target that has one": (
        b"GET http://g/a HTTP/1.1\r\nhost:\r\n\r\n",
        400,
    ),
    "a target of somebody": (b"GET http://me:pw@g/a HTTP/1.1\r\nhost: g\r\n\r\n", 400),
    "a target of another protocol": (b"GET ftp://g/a HTTP/1.1\r\nhost: g\r\n\r\n", 400),
    "a target without a host": (b"GET http:///a HTTP/1.1\r\nhost: g\r\n\r\n", 400),
    # what is too large
    "a large header": (b"GET /a HTTP/1.1\r\nhost: g\r\nx: " + b"a" * 66_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET /a HTTP/1.1\r\nhost: g\r\n" + b"a:\r\n" * 17_000 + b"\r\n", 431),
    "a large target": (b"GET /" + b"a" * 66_000 + b" HTTP/1.1\r\nhost: g\r\n\r\n", 431),
}
"""Heads, and the status of each."""

ANSWERED: dict[str, tuple[bytes, tuple[str, str, str, str]]] = {
    "chunked": (POST + b"transfer-encoding: chunked" + CHUNKS, ("/a", "", "g", "hello")),
    "Chunked": (POST + b"Transfer-Encoding: Chunked" + CHUNKS, ("/a", "", "g", "hello")),
    "an empty coding, and chunked": (
        POST + b"transfer-encoding: , chunked" + CHUNKS,
        ("/a", "", "g", "hello"),
    ),
    "a length with zeros": (POST + b"content-length: 005\r\n\r\nhello", ("/a", "", "g", "hello")),
    "a port": (b"GET /a HTTP/1.1\r\nhost: g:80\r\n\r\n", ("/a", "", "g:80", "")),
    "a port that is not said": (b"GET /a HTTP/1.1\r\nhost: g:\r\n\r\n", ("/a", "", "g:", "")),
    "an address": (b"GET /a HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", ("/a", "", "[::1]:80", "")),
    "an address of a zone": (
        b"GET /a HTTP/1.1\r\nhost: [fe80::1%25eth0]\r\n\r\n",
        ("/a", "", "[fe80::1%25eth0]", ""),
    ),
    "a name as containers have": (
        b"GET /a HTTP/1.1\r\nhost: my_app:8\r\n\r\n",
        ("/a", "", "my_app:8", ""),
    ),
    "no name": (b"GET /a HTTP/1.1\r\nhost:\r\n\r\n", ("/a", "", "", "")),
    "a whole URL": (b"GET http://g/a?b HTTP/1.1\r\nhost: g\r\n\r\n", ("/a", "b", "g", "")),
    "a URL of another host": (
        b"GET http://h:1/a HTTP/1.1\r\nhost: g\r\n\r\n",
        ("/a", "", "h:1", ""),
    ),
    "a URL without a path": (b"GET http://g HTTP/1.1\r\nhost: g\r\n\r\n", ("/", "", "g", "")),
    "a URL with a query alone": (
        b"GET http://g?b HTTP/1.1\r\nhost: g\r\n\r\n",
        ("/", "b", "g", ""),
    ),
    "a header without a value": (b"GET /a HTTP/1.1\r\nx:\r\nhost: g\r\n\r\n", ("/a", "", "g", "")),
    "empty lines before it": (b"\r\n\r\nGET /a HTTP/1.1\r\nhost: g\r\n\r\n", ("/a", "", "g", "")),
    "HTTP/1.0": (b"GET /a HTTP/1.0\r\nhost: g\r\n\r\n", ("/a", "", "g", "")),
    "the name of another protocol in a header": (
        b"GET /a HTTP/1.0\r\nhost: g\r\nx: GET /b RTSP/1.0\r\n\r\n",
        ("/a", "", "g", ""),
    ),
    "a head that is just small enough": (
        b"GET /a HTTP/1.1\r\nhost: g\r\nx: " + b"a" * 65_000 + b"\r\n\r\n",
        ("/a", "", "g", ""),
    ),
}
"""Requests, and what their app is told."""


@pytest.mark.parametrize("case", REFUSED)
async def test_what_others_could_read_in_another_way_is_refused(case: str) -> None:
    sent, status = REFUSED[case]
    whole = await said(sent + ASK)
    assert (whole.statuses, whole.is_closed) == ([status], True)
    assert set(json.loads(whole.bodies[0])["error"]) == {"message", "type", "code", "param"}


@pytest.mark.parametrize("case", [name for name in REFUSED if len(REFUSED[name][0]) < 1000])
async def test_a_head_in_pieces_is_refused_as_one_that_comes_at_once(case: str) -> None:
    sent, status = REFUSED[case]
    in_parts = await said(*in_pieces(sent + ASK))
    assert (in_parts.statuses, in_parts.is_closed) == ([status], True)


@pytest.mark.parametrize("case", REFUSED)
async def test_it_is_refused_behind_another_request_as_well(case: str) -> None:
    """Whose answer is the last."""
    behind = await said(ASK + ASK + REFUSED[case][0] + ASK)
    assert (behind.statuses, behind.is_closed) == ([200, 200], True)


@pytest.mark.parametrize("case", ANSWERED)
async def test_what_can_be_read_in_one_way_is_answered(case: str) -> None:
    sent, (path, query, host, body) = ANSWERED[case]
    expected = [path, query, [host], body]
    for parts in ([sent], in_pieces(sent)):
        answer = await said(*parts)
        assert answer.statuses == [200]
        assert json.loads(answer.bodies[0]) == expected


async def test_a_coding_that_is_not_taken_off_is_named() -> None:
    [body] = (await said(REFUSED["gzip, chunked"][0])).bodies
    assert re.search("'gzip'", json.loads(body)["error"]["message"])


@pytest.mark.parametrize(
    "before",
    [ASK, POST + b"content-length: 70000\r\n\r\n" + b"x" * 70_000],
    ids=["a request", "a body"],
)
async def test_a_head_is_measured_from_its_own_first_byte(before: bytes) -> None:
    """Whatever came with it in one piece."""
    fits = b"GET /a HTTP/1.1\r\nhost: g\r\nx: " + b"a" * 60_000 + b"\r\n\r\n"
    answer = await said(before + fits + fits)
    assert answer.statuses == [200, 200, 200]
    answer = await said(before + REFUSED["a large header"][0] + ASK)
    assert (answer.statuses, answer.is_closed) == ([200], True)
