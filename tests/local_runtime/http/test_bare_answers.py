"""Answers without a body, and requests whose body nobody reads: what comes next on the connection
is the next answer, over real sockets."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from local_runtime.http.client_limits import ClientLimits
from tests.local_runtime.http.test_client_limits import serving
from tests.local_runtime.http.wire import ASK, HEAD, Answers, tells_its_path

BODY = b"a body that is none"
LONG = ClientLimits(idle_s=60)
LARGE = b"x" * 300_000
"""More than waits for an app before its client is not read any more."""


async def in_pieces(scope: Scope, receive: Receive, send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    for _ in range(3):
        await send({"type": "http.response.body", "body": BODY, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


LENGTH = (b"content-length", b"%d" % len(BODY))
CHUNKED = (b"transfer-encoding", b"chunked")
WAYS: dict[str, Callable[[int], Any]] = {
    "no body": lambda status: Answers([], b"", status),
    "a body": lambda status: Answers([], BODY, status),
    "a body and its length": lambda status: Answers([LENGTH], BODY, status),
    "a length alone": lambda status: Answers([LENGTH], b"", status),
    "chunks": lambda status: Answers([CHUNKED], BODY, status),
    "pieces": lambda status: lambda s, r, send: in_pieces(s, r, send, status),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304), ("HEAD", 304)]
)
async def test_an_answer_without_a_body_is_followed_by_the_next(
    method: str, status: int, way: str
) -> None:
    bare = WAYS[way](status)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (bare if scope["path"] == "/bare" else tells_its_path)(scope, receive, send)

    def asks(port: int) -> tuple[int, bytes, dict[str, str], bytes]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        client.request(method, "/bare")
        first = client.getresponse()
        said, headers = first.read(), {name.lower(): value for name, value in first.getheaders()}
        connected = client.sock
        client.request("GET", "/next")
        following = client.getresponse().read()
        assert client.sock is connected, "the connection was not used again"
        client.close()
        return first.status, said, headers, following

    async with serving(app, LONG) as server:
        told, said, headers, following = await asyncio.to_thread(asks, server.port)
    assert (told, said, following) == (status, b"", b"/next")
    if status == 204:
        assert not {"content-length", "transfer-encoding"} & headers.keys()


UNREAD: dict[str, bytes] = {
    "of a length": HEAD + b"content-length: %d\r\n\r\n" % len(LARGE) + LARGE,
    "in chunks": HEAD
    + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(LARGE), LARGE),
    "of nothing": HEAD + b"content-length: 0\r\n\r\n",
    "that has its leave to come": HEAD
    + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(LARGE)
    + LARGE,
}


@pytest.mark.parametrize("how", UNREAD)
async def test_a_request_behind_a_body_that_nobody_reads_has_its_answer(how: str) -> None:
    """Nothing of the body is taken for a request."""
    async with serving(tells_its_path, LONG) as server, server.client() as (reader, writer):
        writer.write(UNREAD[how] + ASK + UNREAD[how] + ASK.replace(b"/a", b"/b"))
        paths = []
        for _ in range(4):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            paths.append(await reader.readexactly(2))
        assert paths == [b"/a", b"/a", b"/a", b"/b"]
