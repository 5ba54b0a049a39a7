"""Clients that do not read, or do not end, over real sockets: they hold no place, lock nobody out
and fill no memory."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import select
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.e2e.observing import error_of
from tests.live import LiveGateway
from tests.waiting import until

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"word " * 800)
ANSWER = json.dumps({"choices": [{"text": "x" * 8_000_000}]}).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n"
CONFIG = """
backends:
  b: {{kind: openai, base_url: "{url}", engine: none, concurrency: 1, max_run: {max_run}}}
models: {{m: {{task: chat, backends: [b]}}}}
plans:
  default: {{}}
  single: {{concurrent: 1}}
"""


class Torrent:
    """A server whose whole answers are 8 MB, or short where ``brief`` says so, and whose streams
    never end."""

    def __init__(self) -> None:
        self.brief = False
        self.streams = 0
        """That are under way."""
        self._handlers: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        self._handlers.discard(task)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        body = await reader.readexactly(int(length or 0))
        if b'"stream":true' in body.replace(b" ", b""):
            writer.write(HEAD % b"text/event-stream" + b"\r\n")
            self.streams += 1
            try:
                while True:
                    writer.write(EVENT)
                    await writer.drain()
            finally:
                self.streams -= 1
        answer = b'{"choices":[{"text":""}]}' if self.brief else ANSWER
        writer.write(HEAD % b"application/json" + b"content-length: %d\r\n\r\n" % len(answer))
        writer.write(answer)
        await writer.drain()


@contextlib.asynccontextmanager
async def serving(
    folder: Path, *, max_run: str = "600s", **clients: object
) -> AsyncIterator[tuple[LiveGateway, Torrent]]:
    async with Torrent() as torrent:
        config = CONFIG.format(url=torrent.url, max_run=max_run)
        gateway = LiveGateway(folder, config, server={"clients": clients})
        await asyncio.to_thread(gateway.start)
        try:
            yield gateway, torrent
        finally:
            assert await asyncio.to_thread(gateway.stop) == 0


def request(gateway: LiveGateway, key: str, body: bytes, *, length: int | None = None) -> bytes:
    """``length``: of a body of which this is a part."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {length or len(body)}\r\n\r\n"
    )
    return head.encode() + body


def connected(gateway: LiveGateway, sent: bytes = b"") -> socket.socket:
    """A client that says this and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    client.settimeout(30)
    client.connect(("127.0.0.1", gateway.port))
    client.sendall(sent)
    return client


def status_line(client: socket.socket) -> bytes:
    return client.recv(12, socket.MSG_WAITALL)


def memory_of(gateway: LiveGateway) -> int:
    """Bytes that it holds."""
    text = Path(f"/proc/{gateway.pid}/smaps_rollup").read_text()
    return 1024 * int(text.partition("\nPss:")[2].split()[0])


async def outcomes(gateway: LiveGateway) -> dict[str, int]:
    """How the calls so far have ended."""
    async with gateway.async_client(gateway.admin_key) as client:
        rows = (await client.get("/usage", params={"group_by": "outcome"})).json()["rows"]
    return {row["outcome"]: row["calls"] for row in rows}


async def call(gateway: LiveGateway, key: str | None = None, **options: Any) -> httpx.Response:
    async with gateway.async_client(key) as client:
        return await client.post("/v1/chat/completions", json=ASK, **options)


# --- streams -----------------------------------------------------------------------------------


async def test_an_unread_stream_holds_its_place_no_longer_than_max_run(tmp_path: Path) -> None:
    async with serving(tmp_path, max_run="1s", write="600s") as (gateway, torrent):
        ask = json.dumps({**ASK, "stream": True}).encode()
        with contextlib.closing(connected(gateway, request(gateway, gateway.user_key, ask))):
            await until(lambda: torrent.streams == 1, "the stream has begun")
            await until(lambda: torrent.streams == 0, "the place is free", within_s=20)
            torrent.brief = True
            assert (await call(gateway)).status_code == 200
            assert await outcomes(gateway) == {"error": 1, "success": 1}


async def test_an_unread_stream_is_given_up_before_that_where_its_client_stalls(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, write="1s") as (gateway, torrent):
        ask = json.dumps({**ASK, "stream": True}).encode()
        with contextlib.closing(connected(gateway, request(gateway, gateway.user_key, ask))):
            await until(lambda: torrent.streams == 1, "the stream has begun")
            await until(lambda: torrent.streams == 0, "the place is free", within_s=20)
            torrent.brief = True
            assert (await call(gateway)).status_code == 200
            assert await outcomes(gateway) == {"disconnected": 1, "success": 1}


# --- memory -----------------------------------------------------------------------------------


async def test_answers_that_nobody_reads_are_calls_in_progress(tmp_path: Path) -> None:
    """So many as the key may have at once, and then none until one was read or given up."""
    async with serving(tmp_path) as (gateway, torrent), contextlib.AsyncExitStack() as stack:
        key = gateway.create_key("alice", "--plan", "single")
        ask = request(gateway, key, json.dumps(ASK).encode())
        first = stack.enter_context(contextlib.closing(connected(gateway, ask)))
        assert await asyncio.to_thread(status_line, first) == b"HTTP/1.1 200"
        before = memory_of(gateway)
        for _ in range(30):
            client = stack.enter_context(contextlib.closing(connected(gateway, ask)))
            assert await asyncio.to_thread(status_line, client) == b"HTTP/1.1 429"
        assert memory_of(gateway) - before < 20_000_000
        assert error_of(await call(gateway, key)) == (429, "concurrency_limit_exceeded")
        torrent.brief = True
        assert (await call(gateway)).status_code == 200, "it is nobody else's matter"
        first.close()

        async def goes_again() -> bool:
            return (await call(gateway, key)).status_code == 200

        await until(goes_again, "the key is free again")


async def test_uploads_that_do_not_end_are_calls_in_progress(tmp_path: Path) -> None:
    async with serving(tmp_path) as (gateway, torrent), contextlib.AsyncExitStack() as stack:
        torrent.brief = True
        key = gateway.create_key("alice", "--plan", "single")
        part = request(gateway, key, b'{"pad":"' + b"x" * 4_000_000, length=8_000_000)
        begun = [stack.enter_context(contextlib.closing(connected(gateway))) for _ in range(30)]
        before = memory_of(gateway)
        await asyncio.to_thread(begun[0].sendall, part)
        for client in begun[1:]:
            await asyncio.to_thread(client.sendall, part)
            assert await asyncio.to_thread(status_line, client) == b"HTTP/1.1 429"
        assert memory_of(gateway) - before < 20_000_000
        begun[0].close()

        async def goes_again() -> bool:
            return (await call(gateway, key)).status_code == 200

        await until(goes_again, "the key is free again")


@pytest.mark.parametrize(
    ("bounds", "users", "told"),
    [
        ({"per_key": "5 MB"}, ["alice", "alice"], b"HTTP/1.1 429"),
        ({"in_all": "12 MB"}, ["alice", "bob", "carol", "dave"], b"HTTP/1.1 503"),
    ],
    ids=["of a key", "in all"],
)
async def test_uploads_are_bounded_in_bytes_too(
    bounds: dict[str, str], users: list[str], told: bytes, tmp_path: Path
) -> None:
    """Whoever passes the bound is refused, and the others go on."""
    async with serving(tmp_path, **bounds) as (gateway, _), contextlib.AsyncExitStack() as stack:
        uploads = []
        keys = {user: gateway.create_key(user) for user in users}
        for user in users:
            part = request(gateway, keys[user], b'{"pad":"' + b"x" * 3_900_000, length=8_000_000)
            client = await asyncio.to_thread(connected, gateway, part)
            uploads.append(stack.enter_context(contextlib.closing(client)))
        answered, _, _ = await asyncio.to_thread(select.select, uploads, [], [], 30)
        assert [status_line(client) for client in answered] == [told]


async def test_a_body_that_grows_when_it_is_read_counts_as_it_grows(tmp_path: Path) -> None:
    async with serving(tmp_path, per_key="1 MB") as (gateway, torrent):
        torrent.brief = True
        large = gzip.compress(json.dumps({**ASK, "pad": "x" * 20_000_000}).encode())
        async with gateway.async_client() as client:
            answers = await asyncio.gather(
                *(
                    client.post(
                        "/v1/chat/completions",
                        content=large,
                        headers={"content-encoding": "gzip"},
                    )
                    for _ in range(4)
                )
            )
        seen = sorted(answer.status_code for answer in answers)
        assert seen[0] == 200
        assert seen[-1] == 429


# --- connections ---------------------------------------------------------------------------------


async def test_idle_connections_without_a_key_lock_nobody_out(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, without_key=20) as (gateway, torrent),
        contextlib.AsyncExitStack() as stack,
    ):
        torrent.brief = True
        client = await stack.enter_async_context(gateway.async_client())
        assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
        for _ in range(300):
            stack.enter_context(contextlib.closing(connected(gateway, b"GET /")))
        assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
        descriptors = len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))
        assert descriptors < 120
        assert (await call(gateway)).status_code == 200


async def test_a_client_that_ends_its_own_half_gets_its_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as (gateway, torrent):
        torrent.brief = True
        ask = request(gateway, gateway.user_key, json.dumps(ASK).encode())
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(ask)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        assert answer.endswith(b'{"choices":[{"text":""}]}')
        assert b"HTTP/1.1 200 OK" in answer
