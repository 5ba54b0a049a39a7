"""A caller cannot switch off what is held: the cap holds whatever is said, in whatever bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from gateway.clock import FakeClock
from tests.adapters.openai.realtime_server import RealtimeServer
from tests.gateway.realtime.conversations import heard, said, talks

CREATE = {"type": "response.create"}
CREATED = "conversation.item.created"
BUSY = {"type": "error", "error": {"code": "conversation_already_has_active_response"}}
CAP = 20_000_000


class ReadingServer(RealtimeServer):
    """Reads all that was said with each response, four bytes a token, and quotes each item."""

    def __init__(self) -> None:
        super().__init__()
        self.context = self.cost_nano = 0

    async def do(self, socket: ServerConnection, event: dict[str, Any]) -> None:
        if event["type"] == "conversation.item.create":
            self.context += len(event["item"]["content"][0]["text"]) // 4
            await socket.send(json.dumps({"type": CREATED, "item": event["item"]}))
        elif event.get("event_id") == "refused":
            await socket.send(json.dumps(BUSY))
        elif event.get("event_id") == "endless":
            for _ in range(400):
                await self._write(socket, "word " * 5, 7)
        elif event["type"] == "response.create":
            await self._answer(socket, apart="response" in event)

    async def _write(self, socket: ServerConnection, text: str, tokens: int) -> None:
        self.cost_nano += tokens * 16_000
        await socket.send(json.dumps({"type": "response.output_text.delta", "delta": text}))

    async def _answer(self, socket: ServerConnection, *, apart: bool) -> None:
        given = 0 if apart else self.context
        self.cost_nano += given * 4_000
        await self._write(socket, "hi", 40)
        usage = {"input_tokens": given, "output_tokens": 40, "total_tokens": given + 40}
        done = {"type": "response.done", "response": {"status": "completed", "usage": usage}}
        await socket.send(json.dumps(done))


def item(text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    message = {"type": "message", "role": "user", "content": content}
    return {"type": "conversation.item.create", "item": message, **more}


async def plain(socket: ClientConnection) -> None:
    await said(socket, item("a" * 40_000), CREATE)


async def named_audio(socket: ClientConnection) -> None:
    await said(socket, *[item("a" * 40_000, event_id="audio")] * 10, CREATE)


async def quoted_ends(socket: ClientConnection) -> None:
    for _ in range(60):
        await said(socket, item("a" * 3000), item("response.done"))
        await heard(socket, CREATED)
    await said(socket, CREATE)


async def escaped(socket: ClientConnection) -> None:
    for _ in range(60):
        await socket.send('{"type":"response\\u002ecreate"}')


async def after_it_was_asked(socket: ClientConnection) -> None:
    """What is said after a response was asked for is not read by it."""
    await said(socket, CREATE, item("a" * 3000))
    await heard(socket, CREATED)
    for _ in range(40):
        await said(socket, item("a" * 3000), CREATE, item("a" * 3000))
        await heard(socket, "response.done")


async def beside(socket: ClientConnection) -> None:
    """A response that reads nothing says nothing of what the next one reads."""
    for _ in range(40):
        await said(socket, item("a" * 2500), {**CREATE, "response": {"conversation": "none"}})
        await heard(socket, "response.done")
    await said(socket, CREATE)


async def endless(socket: ClientConnection) -> None:
    await said(socket, {**CREATE, "event_id": "endless"})


@pytest.mark.parametrize(
    "script",
    [plain, named_audio, quoted_ends, escaped, after_it_was_asked, beside, endless],
    ids=lambda script: script.__name__,
)
async def test_the_cap_holds(
    script: Callable[[ClientConnection], Awaitable[None]], tmp_path: Path, clock: FakeClock
) -> None:
    server = ReadingServer()
    async with talks(tmp_path, clock, server) as found:
        async with found.connect(key=found.gateway.key(plan="small")) as socket:
            with contextlib.suppress(ConnectionClosed):
                await script(socket)
                async with asyncio.timeout(10):
                    while True:
                        await socket.recv()
            assert socket.close_code == 4402
        row = await found.row()
        assert row.cost_nano <= row.hold_nano <= CAP
        assert row.error == "budget_exhausted"
        if script is not endless:  # which is cut where it stands, and goes on at the server
            assert server.cost_nano <= CAP


async def test_a_response_that_is_refused_counts_no_more(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock, ReadingServer()) as found:
        async with found.connect(key=found.gateway.key(plan="small")) as socket:
            for _ in range(40):
                await said(socket, {**CREATE, "event_id": "refused"})
                await heard(socket, "error")
            await said(socket, CREATE)
            await heard(socket, "response.done")
        row = await found.row()
        assert (row.outcome, row.output_tokens) == ("success", 40)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param("hello", "invalid_event", id="no JSON"),
        pytest.param("[]", "invalid_event", id="no object"),
        pytest.param("{}", "invalid_event", id="no type"),
        pytest.param('{"type":5}', "invalid_event", id="a type that is no text"),
        pytest.param("[" * 100_000, "invalid_event", id="too deep"),
        pytest.param('{"type":"x","type":"response.create"}', "ambiguous_field", id="two types"),
        pytest.param('{"type":"x","ty\\u0070e":"y"}', "ambiguous_field", id="two, one escaped"),
        pytest.param('{"type":"x","Type":"y"}', "ambiguous_field", id="two, one in capitals"),
    ],
)
async def test_what_is_no_event_is_answered_so_and_goes_no_further(
    message: str, code: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect() as socket:
            await socket.send(message)
            events = await heard(socket, "error")
            assert events[-1]["error"]["code"] == code
            await said(socket, CREATE)
            await heard(socket, "response.done")
        assert found.server.events == [CREATE]
        assert (await found.row()).outcome == "success"
