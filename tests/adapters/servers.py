"""Servers that a test scripts, on a free port of 127.0.0.1, in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from gateway.clock import FakeClock, settle

T = TypeVar("T")

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Request(msgspec.Struct, frozen=True):
    """A request as a server read it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Raises IncompleteReadError at the end of the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    return Request(method, target, headers, body)


class RawServer:
    """Accepts connections and hands each to ``talk``; counts them."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.connections = 0
        self.open = 0
        self.url = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._talk(reader, writer)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[RawServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
                await asyncio.wait([task])
            await settle()


def answer(
    body: bytes | dict[str, Any] | list[Any] = b"",
    status: int = 200,
    content_type: str = "application/json",
    **headers: str,
) -> bytes:
    """A whole HTTP answer; underscores in header names become dashes."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(data)}"]
    lines.append(f"content-type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + data


def chunked(*pieces: bytes, content_type: str = "text/event-stream", end: bool = True) -> bytes:
    """An answer in chunks; without its last one when ``end`` is False."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head.encode() + body + (b"0\r\n\r\n" if end else b"")


class Scripted:
    """Gives the answers of a script in turn, one to a request, and keeps the requests.

    An empty answer closes the connection without a byte; ``STALL`` says nothing for ever.
    ``CUT`` at the end of an answer closes the connection after it.
    """

    def __init__(self, answers: Sequence[bytes]) -> None:
        self._answers = list(answers)
        self.requests: list[Request] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.requests.append(await read_request(reader))
            reply = self._answers.pop(0)
            if reply == STALL:
                await asyncio.Event().wait()
            writer.write(reply.removesuffix(CUT))
            await writer.drain()
            if not reply or reply.endswith(CUT):
                writer.close()
                return

    def prepend(self, reply: bytes) -> None:
        """For an answer that names the server's own URL."""
        self._answers.insert(0, reply)

    def targets(self) -> list[str]:
        return [f"{request.method} {request.target}" for request in self.requests]


STALL = b"<stall>"
CUT = b"<cut>"


@contextlib.asynccontextmanager
async def scripted(*answers: bytes) -> AsyncIterator[tuple[Scripted, str]]:
    """A scripted server and its URL."""
    script = Scripted(answers)
    async with RawServer(script.talk).running() as server:
        yield script, server.url


async def drive(clock: FakeClock, work: Coroutine[Any, Any, T], step: float = 0.05) -> T:
    """Awaits ``work`` while the clock runs on; sockets get their turn at each step."""
    task = asyncio.ensure_future(work)
    try:
        for _ in range(20_000):
            if task.done():
                return task.result()
            await clock.advance(step)
        raise AssertionError("it did not end in 20,000 steps of the clock")
    finally:
        task.cancel()
