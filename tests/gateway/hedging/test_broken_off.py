"""A call that is cancelled at any of its suspensions, while two backends are asked for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock, settle
from gateway.types import ApiError
from tests.gateway.assembled import PATIENCE_S, AssembledGateway, assembled
from tests.gateway.calls.test_cancellation import CancelledAt
from tests.gateway.failing_stores import FailingLedger, FailingShared, Trouble
from tests.gateway.hedging.calls import WHOLE, nothing_is_left, policy, runs

WAYS = ("the second answers", "the first answers", "the first fails", "both fail", "a stream")


def tell(gateway: AssembledGateway, way: str) -> None:
    runs(gateway, first=2.0, second=2.0, third=0.5)
    if way == "the second answers":
        runs(gateway, first=30.0)
    elif way == "a stream":
        runs(gateway, first=30.0)
        gateway.fake("second").tell(list(WHOLE))
    elif way.endswith("fails") or way.startswith("both"):
        gateway.fake("first").tell(BackendError(FailureClass.FAILED, "boo"))
        if way == "both fail":
            gateway.fake("second").tell(BackendError(FailureClass.FAILED, "boo"))


async def one_call(gateway: AssembledGateway, way: str) -> None:
    answer = await gateway.ask(gateway.call_state(stream=way == "a stream"))
    if isinstance(answer, SettledStream):
        async with answer:
            async for _ in answer:
                pass


async def try_at(turn: int, way: str, folder: Path) -> bool:
    """One gateway, one call, cancelled at its ``turn``-th suspension; False when it had fewer."""
    folder.mkdir()
    clock, trouble = FakeClock(), Trouble()
    shared = FailingShared(clock).told(trouble)
    own = FailingLedger(folder / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S).told(trouble)
    text = policy("seconds", route=", repeat: always")
    async with assembled(folder, clock, text, shared=shared, ledger=own) as gateway:
        tell(gateway, way)
        attempt = CancelledAt(one_call(gateway, way), turn)

        async def run() -> Any:
            return await attempt

        task = asyncio.get_running_loop().create_task(run())
        while not task.done():
            await clock.advance(0.25)
            await asyncio.sleep(0.001)
        ended = None if task.cancelled() else task.exception()
        assert ended is None or isinstance(ended, ApiError), repr(ended)
        await gateway.inner.dispatcher.background.drain()
        await settle()
        if await gateway.rows("req_1"):
            await nothing_is_left(gateway, "req_1")
        return attempt.reached


@pytest.mark.parametrize("way", WAYS)
async def test_wherever_a_hedged_call_is_cancelled_nothing_is_held_and_it_is_settled_once(
    way: str, tmp_path: Path
) -> None:
    turn = 0
    while await try_at(turn, way, tmp_path / str(turn)):
        turn += 1
    assert turn >= 4
