"""A server of OpenAI's protocol that is in trouble until it is mended; its health page is not."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
from typing import Self, cast

from gateway.clock import settle
from tests.live import ROOT
from tests.programs.faults.speech import STREAM_HEAD, Asked, Play, answer

FAULTS = ROOT / "tests" / "programs" / "faults"

_MESSAGE = {"role": "assistant", "content": "hello there"}
_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
_CHOICE = {"index": 0, "message": _MESSAGE, "finish_reason": "stop"}
WHOLE = {"id": "c", "object": "chat.completion", "choices": [_CHOICE], "usage": _USAGE}
EVENTS = (
    {"choices": [{"index": 0, "delta": {"content": "hello there"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": _USAGE},
)


def program(name: str) -> Play:
    """The program of a fault, one of ``tests/programs/faults``."""
    folder = FAULTS if (FAULTS / f"{name}.py").exists() else FAULTS / "refusals"
    module = ".".join((*folder.relative_to(ROOT).parts, name))
    return cast(Play, importlib.import_module(module).play)


async def well(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """A good answer."""
    if not asked.stream:
        writer.write(answer(200, WHOLE))
        return
    events = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in EVENTS]
    pieces = [*events, b"data: [DONE]\n\n"]
    writer.write(
        STREAM_HEAD + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
    )


class FaultyServer:
    """``async with FaultyServer(program("reset")) as server: ... server.url``. ``play`` answers
    calls, and may be changed meanwhile; None: connections are refused."""

    def __init__(self, play: Play | None = well) -> None:
        self.play: Play = play or well
        self.calls = 0
        self._listens = play is not None
        self._port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """That its clients have open."""
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        await self._listen()
        if not self._listens:
            await self._close()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def fall_ill(self, play: Play | None) -> None:
        """From now on ``play`` answers calls; None: connections are refused."""
        self.play = play or well
        if play is None:
            await self._close()
        elif self._server is None:
            await self._listen()

    async def mend(self) -> None:
        """From now on it answers every call."""
        self.play = well
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await settle()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    await self._one(reader, writer)
                    await writer.drain()
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        method, path, _ = head.split("\r\n", 1)[0].split(" ")
        length = head.partition("content-length: ")[2].split("\r\n", 1)[0]
        asked = Asked(method, path, await reader.readexactly(int(length or 0)), head)
        await self.answer(asked, writer)

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """The answer to one request."""
        if asked.method == "get":
            writer.write(answer(200, {"object": "list", "data": []}))
            return
        self.calls += 1
        await self.play(asked, writer)
