"""Every way in which a conversation ends: what its client is told, and that it is settled once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gateway.clock import FakeClock
from tests.adapters.openai.realtime_server import eventually
from tests.gateway.realtime.conversations import RESPONSE_NANO, Talks, heard, said, talks

CREATE = {"type": "response.create"}


async def closed(socket: ClientConnection) -> tuple[int, str, list[str]]:
    """The code and reason by which it is closed, and the codes of errors that came before."""
    errors = []
    async with asyncio.timeout(10):
        async for message in until_closed(socket):
            event = json.loads(message)
            if event["type"] == "error":
                errors.append(event["error"]["code"])
    return socket.close_code or 0, socket.close_reason or "", errors


async def until_closed(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    """What still comes, whichever way it ends."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await socket.recv()


async def nothing_is_left(found: Talks) -> None:
    """No call, no hold, no connection, and one row."""
    await eventually(lambda: not found.gateway.inner.dispatcher.held)
    await eventually(lambda: not found.state.tasks)
    assert not found.state.connections
    assert not await found.gateway.inner.ledger.open_rows()
    assert len(found.server.ended) == 1


@pytest.mark.parametrize(
    ("told", "code", "outcome", "error"),
    [
        pytest.param("close1000", 1000, "success", "", id="well"),
        pytest.param("close1001", 1001, "success", "", id="going away"),
        pytest.param("close4001", 4001, "error", "truncated", id="a code of its own"),
        pytest.param("vanish", 4502, "error", "truncated", id="without a word"),
        pytest.param("noise", 4502, "error", "truncated", id="frames that say nothing"),
        pytest.param("binary", 4502, "error", "malformed", id="a message that is no text"),
        pytest.param("odd", 4502, "error", "malformed", id="a message that is no event"),
    ],
)
async def test_a_backend_ends_it(
    told: str, code: int, outcome: str, error: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect() as socket:
            await said(socket, CREATE)
            await heard(socket, "response.done")
            await said(socket, {"type": "x", "event_id": told})
            given, reason, errors = await closed(socket)
        assert given == code
        assert bool(errors) is (outcome == "error")
        assert (
            reason == "as it was told" if told.startswith("close") else f"backend_{error}" in reason
        )
        row = await found.row()
        assert (row.outcome, row.error, row.cost_nano) == (outcome, error, RESPONSE_NANO)
        await nothing_is_left(found)


async def test_a_client_vanishes(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect() as socket:
            await said(socket, CREATE)
            await heard(socket, "response.done")
            socket.transport.abort()
        row = await found.row()
        assert (row.outcome, row.status, row.cost_nano) == ("disconnected", 499, RESPONSE_NANO)
        await nothing_is_left(found)


async def test_a_client_that_takes_nothing_is_cut(tmp_path: Path, clock: FakeClock) -> None:
    """What its backend has to say is not kept for it meanwhile."""
    async with talks(tmp_path, clock) as found:
        async with found.connect(max_size=None, max_queue=1) as socket:
            await said(socket, {"type": "x", "event_id": "flood"})
            row = await found.row()
            socket.transport.abort()
        assert row.outcome == "disconnected"
        await nothing_is_left(found)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param(b"\x00", 1003, id="binary"),
        pytest.param("a" * (16 * 1024 * 1024 + 1), 1009, id="too large"),
    ],
)
async def test_a_client_sends_what_it_may_not(
    message: bytes | str, code: int, tmp_path: Path, clock: FakeClock
) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect() as socket:
            await heard(socket, "session.created")
            with contextlib.suppress(ConnectionClosed):
                await socket.send(message)
            assert (await closed(socket))[0] == code
        row = await found.row()
        assert (row.outcome, row.cost_nano) == ("disconnected", 0)
        assert found.server.events == []
        await nothing_is_left(found)


async def test_a_client_says_nothing_too_often(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect() as socket:
            await heard(socket, "session.created")
            with contextlib.suppress(ConnectionClosed):
                for _ in range(5000):
                    await socket.pong()
            code, reason, _ = await closed(socket)
        assert (code, reason[:37]) == (1008, "too many frames that say nothing: pin")
        assert (await found.row()).outcome == "disconnected"
        await nothing_is_left(found)


@pytest.mark.parametrize(
    ("at_once", "least"),
    [pytest.param(1, 4, id="one after the other"), pytest.param(20, 0, id="twenty at once")],
)
async def test_its_budget_ends(at_once: int, least: int, tmp_path: Path, clock: FakeClock) -> None:
    """What may come is held before it can come: the cap is never passed."""
    async with talks(tmp_path, clock) as found:
        async with found.connect(key=found.gateway.key(plan="small")) as socket:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await said(socket, *[CREATE] * at_once)
                    await heard(socket, "response.done")
            code, reason, _ = await closed(socket)
        assert code == 4402
        assert reason.startswith("budget_exhausted: ")
        row = await found.row()
        assert (row.outcome, row.status, row.error) == ("error", 402, "budget_exhausted")
        assert least * RESPONSE_NANO <= row.cost_nano <= row.hold_nano <= 20_000_000
        assert row.cost_nano % RESPONSE_NANO == 0
        await nothing_is_left(found)


async def test_its_time_is_over(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect("timed") as socket:
            await heard(socket, "session.created")
            await clock.advance(62)
            code, _, errors = await closed(socket)
        assert (code, errors) == (4504, ["backend_timeout"])
        row = await found.row()
        assert (row.outcome, row.error) == ("error", "timeout")
        assert 60_000_000 <= row.cost_nano <= 62_000_000
        await nothing_is_left(found)


async def test_the_gateway_ends(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect() as socket:
            await said(socket, CREATE)
            await heard(socket, "response.done")
            [task] = found.state.tasks
            task.cancel()
            code, _, errors = await closed(socket)
        assert (code, errors) == (1012, ["shutting_down"])
        row = await found.row()
        assert (row.outcome, row.cost_nano) == ("cancelled", RESPONSE_NANO)
        await nothing_is_left(found)
