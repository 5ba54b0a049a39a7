"""A server of OpenAI's realtime protocol that does as its clients' events tell it, for tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

USAGE = {
    "total_tokens": 140,
    "input_tokens": 100,
    "output_tokens": 40,
    "input_token_details": {"cached_tokens": 60, "text_tokens": 100, "audio_tokens": 0},
    "output_token_details": {"text_tokens": 10, "audio_tokens": 30},
}
"""Of each response."""


class RealtimeServer:
    """``url`` once it serves; what each session was asked for, and the events that came."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.events: list[Any] = []
        self.ended: list[int | None] = []
        """The close codes of its clients."""
        self.refuses: tuple[int, bytes] | None = None
        """A status and a body instead of a session."""
        self.first: str | None = json.dumps({"type": "session.created", "session": {"id": "s"}})

    async def answer(self, socket: ServerConnection) -> None:
        """One session."""
        try:
            if self.first is not None:
                await socket.send(self.first)
            async for message in socket:
                event = json.loads(message)
                self.events.append(event)
                await self.do(socket, event)
        except ConnectionClosed:
            pass
        finally:
            self.ended.append(socket.close_code)

    async def do(self, socket: ServerConnection, event: dict[str, Any]) -> None:
        """What an event of its client asks for."""
        wanted = event.get("event_id", "")
        if wanted == "binary":
            await socket.send(b"\x00")
        elif wanted == "odd":
            await socket.send('{"type": 5}')
        elif wanted == "vanish":
            socket.transport.abort()
        elif wanted.startswith("close"):
            await socket.close(int(wanted.removeprefix("close")), "as it was told")
        elif wanted == "noise":
            socket.transport.write(b"\x8a\x00" * 100_000)
        elif wanted == "flood":
            for _ in range(300):
                await socket.send(json.dumps({"type": "x", "delta": "a" * 100_000}))
        elif event["type"] == "response.create":
            await self._respond(socket, silent=wanted == "silent")

    async def _respond(self, socket: ServerConnection, *, silent: bool) -> None:
        for word in ("a ", "spill ", "gate"):
            await socket.send(json.dumps({"type": "response.output_text.delta", "delta": word}))
        done = {"type": "response.done", "response": {"status": "completed", "usage": USAGE}}
        if not silent:
            await socket.send(json.dumps(done))

    def handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        """Keeps what was asked for, and refuses where it shall."""
        if not request.path.startswith("/v1/realtime"):
            return Response(200, "OK", Headers({"Content-Length": "0"}), b"")
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        self.requests.append((request.path, headers))
        if self.refuses is None:
            return None
        status, body = self.refuses
        kind = Headers({"Content-Type": "application/json"})
        return Response(status, HTTPStatus(status).phrase, kind, body)


@asynccontextmanager
async def realtime_server(server: RealtimeServer | None = None) -> AsyncIterator[RealtimeServer]:
    """Serves on a port of its own; ends with its sessions. ``server``: another one than usual."""
    server = server or RealtimeServer()
    async with serve(
        server.answer,
        "127.0.0.1",
        0,
        process_request=server.handshake,
        close_timeout=0.1,
        max_size=None,
    ) as listening:
        port = listening.sockets[0].getsockname()[1]
        server.url = f"http://127.0.0.1:{port}"
        yield server


async def eventually(holds: Any) -> None:
    """Waits until ``holds()`` is true."""
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)
