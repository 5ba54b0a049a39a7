"""Many conversations over TLS at a gateway of two processes, some of them with people who flood."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.adapters.openai.realtime_server import realtime_server
from tests.e2e.clients.test_realtime import POLICY
from tests.gateway.realtime.conversations import RATES, RESPONSE_NANO, heard, said
from tests.live import LiveGateway

PLANS = """
plans:
  default: {concurrent: 6}
"""
RESPOND = {"type": "response.create"}
PONG = b"\x8a\x80\0\0\0\0"
EMPTY = b"\x81\x80\0\0\0\0"


class Crowd(NamedTuple):
    """A gateway, and who talks through it."""

    gateway: LiveGateway
    key: str
    admin: str

    def connect(self, **more: Any) -> connect:
        trust = ssl.create_default_context(cafile=str(self.gateway.ca))
        url = f"{self.gateway.url.replace('https', 'wss')}/v1/realtime?model=talk"
        shown = {"Authorization": f"Bearer {self.key}"}
        return connect(url, ssl=trust, proxy=None, additional_headers=shown, **more)

    async def rows(self) -> list[dict[str, Any]]:
        async with self.gateway.async_client(self.admin) as asked:
            found: list[dict[str, Any]] = (await asked.get("/usage/calls")).json()["data"]
        return found


@asynccontextmanager
async def crowd(folder: Path) -> AsyncIterator[Crowd]:
    async with realtime_server() as server:
        config = POLICY.format(url=server.url, rates=RATES) + PLANS
        gateway = LiveGateway(folder, config, tls=True, workers=2)
        await asyncio.to_thread(gateway.start)
        try:
            key = await asyncio.to_thread(lambda: gateway.user_key)
            yield Crowd(gateway, key, await asyncio.to_thread(lambda: gateway.admin_key))
        finally:
            await asyncio.to_thread(gateway.stop)


async def test_two_processes_count_conversations_together_and_end_them_with_their_key(
    tmp_path: Path,
) -> None:
    async with crowd(tmp_path) as found, AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(found.connect()) for _ in range(6)]
        await asyncio.gather(*(answered(socket) for socket in sockets))
        with pytest.raises(InvalidStatus) as refused:
            await found.connect()
        assert refused.value.response.status_code == 429
        async with found.gateway.async_client(found.admin) as admin:
            keys = (await admin.get("/admin/keys")).json()["keys"]
            [of_alice] = [key["id"] for key in keys if key["user"] == "alice"]
            (await admin.delete(f"/admin/keys/{of_alice}")).raise_for_status()
        ends = await asyncio.gather(*(ended(socket) for socket in sockets))
        assert [end[-1]["type"] for end in ends] == ["error"] * 6
        rows = await found.rows()
        assert [row["cost_nano"] for row in rows] == [RESPONSE_NANO] * 6


@pytest.mark.parametrize("frame", [PONG, EMPTY], ids=["pongs", "empty messages"])
async def test_who_floods_over_tls_is_cut_off_and_nobody_waits_for_him(
    frame: bytes, tmp_path: Path
) -> None:
    async with crowd(tmp_path) as found, AsyncExitStack() as stack:
        flooding = [await stack.enter_async_context(found.connect()) for _ in range(3)]
        others = [await stack.enter_async_context(found.connect()) for _ in range(3)]
        for socket in flooding:
            socket.transport.write(frame * 100_000)
        await asyncio.gather(*(answered(socket) for socket in others))
        for socket in flooding:
            await ended(socket)
            assert socket.close_code == 1008
        await asyncio.gather(*(answered(socket, first=False) for socket in others))


async def test_who_sends_more_than_he_takes_is_read_no_further(tmp_path: Path) -> None:
    """He asks for more than he reads; others are answered meanwhile, and he is in the end."""
    async with crowd(tmp_path) as found, AsyncExitStack() as stack:
        greedy = await stack.enter_async_context(found.connect())
        others = [await stack.enter_async_context(found.connect()) for _ in range(4)]
        flood = asyncio.create_task(said(greedy, *[{**RESPOND, "event_id": "x"}] * 500))
        await asyncio.gather(*(answered(socket) for socket in others))
        done = 0
        while done < 500:
            done += json.loads(await greedy.recv())["type"] == "response.done"
        await flood


async def answered(socket: ClientConnection, *, first: bool = True) -> None:
    """One response."""
    await said(socket, RESPOND)
    events = await heard(socket, "response.done")
    assert (events[0]["type"] == "session.created") is first


async def ended(socket: ClientConnection) -> list[Any]:
    """What comes until it is closed."""
    events: list[Any] = []
    try:
        async with asyncio.timeout(30):
            while True:
                events.append(json.loads(await socket.recv()))
    except ConnectionClosed:
        return events
