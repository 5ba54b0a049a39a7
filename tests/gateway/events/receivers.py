"""Receivers of webhooks at real sockets, good and bad, and senders that are put together."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Received:
    """One request, as it came."""

    def __init__(self, line: str, headers: dict[str, str], body: bytes) -> None:
        self.line = line
        self.headers = headers
        self.body = body

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str = SECRET) -> Any:
        """The JSON, by the genuine verifier. Raises WebhookVerificationError."""
        return Webhook(secret).verify(self.body, self.headers)


class RawReceiver:
    """Takes POSTs, and answers each as it is told, the last way for ever."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self._answers = list(answers)
        self.port = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.ended = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?team=a"

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.received]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            self.received.append(await _request(reader))
            answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
            await answer(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the sender is gone, or the test
        finally:
            writer.transport.abort() if self.ended else writer.close()


async def _request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    pairs = (line.partition(": ") for line in head[1:] if line)
    headers = {name.lower(): value for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(head[0], headers, body)


@contextlib.asynccontextmanager
async def receiving(
    *answers: Answer, context: ssl.SSLContext | None = None
) -> AsyncIterator[RawReceiver]:
    receiver = RawReceiver(answers or (saying(200),))
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.ended = True
        server.close()
        for task in receiver.tasks:
            task.cancel()
        await asyncio.gather(*receiver.tasks, return_exceptions=True)
        await asyncio.sleep(0)


def saying(status: int, *headers: str, body: bytes = b"ok") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + body)
        await writer.drain()

    return answer


async def hanging(writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.Event().wait()


async def cutting(writer: asyncio.StreamWriter) -> None:
    """Says nothing, and ends the connection."""


async def babbling(writer: asyncio.StreamWriter) -> None:
    """Answers in another language."""
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await writer.drain()


async def slow_in_body(writer: asyncio.StreamWriter) -> None:
    """Has taken the message, and does not end its answer."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nab")
    await writer.drain()
    await asyncio.Event().wait()


async def huge_in_body(writer: asyncio.StreamWriter) -> None:
    """Has taken the message, and answers for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        await writer.drain()


async def slow_in_head(writer: asyncio.StreamWriter) -> None:
    """Begins an answer and never ends its first line."""
    writer.write(b"HTTP/1.1 2")
    await writer.drain()
    await asyncio.Event().wait()
