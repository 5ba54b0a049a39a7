"""A thousand clients and a backend on one event loop, as cheap as they can be."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import NamedTuple

from tests.e2e.servers.paid import repeated


class Heard(NamedTuple):
    """One answer."""

    status: int
    request_id: str
    code: str
    """Of an error."""


class Wire:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> Heard:
        """Raises OSError or EOFError where the connection ends before the answer."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines)
        body = await self._reader.readexactly(int(fields["content-length"]))
        status = int(first.split()[1])
        code = "" if status == 200 else str(json.loads(body)["error"]["code"])
        return Heard(status, fields.get("x-request-id", ""), code)

    def close(self) -> None:
        self._writer.close()


async def wires(port: int, count: int, key: str) -> list[Wire]:
    """So many connections to a gateway, opened a few at a time. Each has shown a key: one that has
    not is not kept for long."""
    opened: list[Wire] = []
    who = f"GET /v1/me HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\r\n".encode()
    while len(opened) < count:
        some = min(50, count - len(opened))
        pairs = (asyncio.open_connection("127.0.0.1", port) for _ in range(some))
        new = [Wire(*pair) for pair in await asyncio.gather(*pairs)]
        await asyncio.gather(*(wire.ask(who) for wire in new))
        opened += new
    return opened


def chat_request(key: str, model: str = "chat", **fields: int) -> bytes:
    """A call in OpenAI's shape."""
    messages = [{"role": "user", "content": "hello"}]
    body = json.dumps({"model": model, "messages": messages, **fields})
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
        f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body.encode()


@contextlib.asynccontextmanager
async def upstream(takes_s: float) -> AsyncIterator[str]:
    """An OpenAI-compatible server that takes its time; its address."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with contextlib.suppress(OSError, EOFError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                answer = b"{}"
                if "content-length: " in head:
                    size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
                    body = await reader.readexactly(size)
                    if head.startswith("post"):
                        answer = repeated(body)
                        await asyncio.sleep(takes_s)
                size_of = f"content-length: {len(answer)}\r\n\r\n".encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + size_of + answer
                )
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()
