"""A server that speaks OpenAI's protocol and does to each call what the call asks for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Self

MOODS = ("answer", "busy", "fail", "drop", "silent", "no usage")
"""Of a whole answer or before a stream: answered; 429; 500; the connection closed without a word;
nothing at all until the caller gives up; answered, but nobody says how many tokens."""

_EVENT = {"choices": [{"index": 0, "delta": {"content": "word "}}]}
_SILENT_S = 20.0


class MoodyServer:
    """``async with MoodyServer() as server: ... server.url``; a part of the test's own loop.

    A call's body says in ``do`` what happens at which backend, by the first part of the path;
    beside it ``sleep`` (seconds before the answer), ``tokens`` (that were produced), ``events`` and
    ``cut`` (after how many of them a stream breaks off; None: it ends well).
    """

    def __init__(self) -> None:
        self.calls = 0
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._handlers.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; True while the connection lives on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        method, path, _ = head.split("\r\n", 1)[0].split(" ")
        length = head.partition("content-length: ")[2].split("\r\n", 1)[0]
        body = await reader.readexactly(int(length or 0))
        if method == "get":
            return await _say(writer, 200, {"object": "list", "data": []})
        self.calls += 1
        asked = json.loads(body)
        mood = asked["do"][path.split("/")[1]]
        await asyncio.sleep(asked["sleep"])
        if mood == "drop":
            return False
        if mood == "silent":
            async with asyncio.timeout(_SILENT_S):
                await reader.read()
            return False
        if mood in ("busy", "fail"):
            return await _say(
                writer, {"busy": 429, "fail": 500}[mood], {"error": {"message": mood}}
            )
        usage = None if mood == "no usage" else _usage(asked["tokens"])
        if asked.get("stream"):
            return await _stream(writer, asked["events"], asked["cut"], usage)
        return await _say(
            writer, 200, {"choices": [{"text": ""}], **({"usage": usage} if usage else {})}
        )


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}


async def _say(writer: asyncio.StreamWriter, status: int, value: dict[str, Any]) -> bool:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    writer.write(f"{head}\r\n\r\n".encode() + body)
    await writer.drain()
    return True


async def _stream(
    writer: asyncio.StreamWriter, events: int, cut: int | None, usage: dict[str, int] | None
) -> bool:
    writer.write(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    for number in range(events):
        if number == cut:
            return False
        writer.write(_event(_EVENT))
        await writer.drain()
        await asyncio.sleep(0.002)
    if usage:
        writer.write(_event({"choices": [], "usage": usage}))
    writer.write(b"data: [DONE]\n\n")
    await writer.drain()
    return False


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
