"""A thousand streams at once over a backend that is killed and comes back, again and again: no
stream that was cut ends as a whole one does, and nothing of any of them is left.

``make streams`` plays it whole, the suite a short form.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
from pathlib import Path

import pytest

from tests.e2e.observing import metric
from tests.live import LiveGateway, free_port
from tests.waiting import until

LONG = os.environ.get("SPILLGATE_SOAK") == "long"
STREAMS, KILLS = (1000, 10) if LONG else (60, 2)
PIECES, PAUSE_S = 20, 0.05
CONFIG = """
backends:
  near: {{kind: openai, base_url: "http://127.0.0.1:{port}", price: tokens, max_run: 60s,
    max_connections: 2000}}
models:
  chat: {{task: chat, backends: [near]}}
prices:
  tokens: {{per_million_input: 1, per_million_output: 2, as_of: 2026-11-01, source: test}}
plans:
  default: {{requests: 1000000/minute, concurrent: 2000, spend: 1000 USD/month}}
"""
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Backend:
    """Streams slowly, until it is killed: then every connection of it breaks off."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: dict[asyncio.StreamWriter, asyncio.Task[object]] = {}
        self._server: asyncio.Server | None = None
        self.running = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self._port, backlog=2048
        )

    async def kill(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer, task in self._writers.items():
            writer.transport.abort()
            task.cancel()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._writers[writer] = task
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head, reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            del self._writers[writer]
            writer.close()

    async def _answer(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        fields = head.decode("latin-1").lower()
        if "content-length: " not in fields:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            return
        await reader.readexactly(int(fields.partition("content-length: ")[2].partition("\r\n")[0]))
        writer.write(HEAD)
        self.running += 1
        try:
            for number in range(PIECES):
                delta = {"choices": [{"index": 0, "delta": {"content": f"{number} "}}]}
                writer.write(_chunk(f"data: {json.dumps(delta)}\n\n".encode()))
                await asyncio.sleep(PAUSE_S)
            last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
            end = f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode()
            writer.write(_chunk(end) + b"0\r\n\r\n")
        finally:
            self.running -= 1


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.soak
def test_no_stream_over_a_killed_backend_ends_as_if_it_were_whole(tmp_path: Path) -> None:
    """Nor is a place, a connection or a hold left of it."""
    asyncio.run(_stream_over_kills(tmp_path))


async def _stream_over_kills(folder: Path) -> None:
    port = free_port()
    backend = Backend(port)
    await backend.start()
    server = {"tls": "off", "access_log": False, "clients": {"without_key": 4 * STREAMS}}
    gateway = LiveGateway(folder, CONFIG.format(port=port), server=server)
    await asyncio.to_thread(gateway.start)
    ends: collections.Counter[str] = collections.Counter()
    try:
        before = _descriptors(gateway)
        going = [True]
        callers = [asyncio.create_task(_ask_on(gateway, going, ends)) for _ in range(STREAMS)]
        for _ in range(KILLS):
            whole = ends["whole"]
            await until(lambda: ends["whole"] > whole, "some end", within_s=90)  # noqa: B023
            await until(lambda: backend.running > STREAMS // 3, "streams run", within_s=60)
            await backend.kill()
            await backend.start()
        going[0] = False
        await asyncio.gather(*callers)
        await until(lambda: metric(gateway, "spillgate_settlements_waiting") == 0, "all is settled")
        await until(lambda: _descriptors(gateway) <= before + 8, "no connection is left")
        assert _in_flight(gateway) == 0
    finally:
        await asyncio.to_thread(gateway.stop)
        await backend.kill()
    assert ends["cut"]
    assert ends["whole"]
    assert set(ends) <= {"cut", "whole", "refused"}


async def _ask_on(gateway: LiveGateway, going: list[bool], ends: collections.Counter[str]) -> None:
    while going[0]:
        ends[await _ask(gateway)] += 1
        await asyncio.sleep(0.05)


async def _ask(gateway: LiveGateway) -> str:
    """How one stream ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        body = b'{"model":"chat","stream":true,"messages":[{"role":"user","content":"hello"}]}'
        key = gateway.user_key.encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (key, len(body), body)
        )
        answer = await reader.read()
        while more := await reader.read():
            answer += more
    finally:
        writer.close()
    return _end_of(answer)


def _end_of(answer: bytes) -> str:
    """A body that has its last chunk is whole, or was refused before it began."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"text/event-stream" not in head.lower():
        assert b" 50" in head.splitlines()[0] or b" 429 " in head, head
        return "refused"
    ends = body.endswith(b"0\r\n\r\n")
    assert ends is (b"data: [DONE]" in body), body[-400:]
    assert ends is (b'"error"' not in body), body[-400:]
    return "whole" if ends else "cut"


def _descriptors(gateway: LiveGateway) -> int:
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


def _in_flight(gateway: LiveGateway) -> int:
    with gateway.client(gateway.admin_key) as client:
        rows = client.get("/admin/backends").json()["backends"]
    return sum(row["in_flight"] for row in rows)
