"""What happens while two backends are asked for a call, or are about to be: a reload, a slow
store."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import Claim
from gateway.storage.memory import MemorySharedStore
from gateway.types import ApiError, Unit
from tests.gateway.assembled import AssembledGateway, assembled, read
from tests.gateway.hedging.calls import (
    LIMIT,
    answered,
    asked,
    at_both,
    nothing_is_left,
    policy,
    row_of,
    runs,
)

LIMITED = "default: {concurrent: 100, gpu_seconds: 1000/day, spend: 5 USD/month}"
UNLIMITED = policy("seconds", route=", repeat: always").replace(LIMITED, "default: {}")


async def reload_with(gateway: AssembledGateway, limits: str) -> None:
    brought = f"default: {{{limits}}}"
    await gateway.inner.apply(read(UNLIMITED.replace("default: {}", brought)))


BROUGHT = {"money": "spend: 0.0072 USD/month", "device time": "gpu_seconds: 7.2/day"}


@pytest.mark.parametrize("limits", BROUGHT.values(), ids=list(BROUGHT))
async def test_a_limit_that_a_reload_brings_holds_both_attempts(
    limits: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, UNLIMITED) as gateway:
        runs(gateway, first=3.75, second=60.0)
        _, before = await at_both(gateway)
        await reload_with(gateway, limits)
        runs(gateway, first=2.75)
        _, after = gateway.start(body=b"x" * 4000)
        await gateway.until_done([before, after], step=0.25)
        await gateway.inner.dispatcher.background.drain()
        assert isinstance(after.exception(), ApiError)
        assert 0 < await gateway.spent() <= 7_200_000


async def test_the_second_has_the_time_that_a_limit_from_a_reload_holds_for_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, UNLIMITED) as gateway:
        runs(gateway, first=30.0, second=60.0)
        state, task = await at_both(gateway)
        await reload_with(gateway, "spend: 5 USD/month")
        await gateway.until_done([task], step=0.25)
        await gateway.inner.dispatcher.background.drain()
        assert task.exception() is None
        assert [(one.backend, one.slug, one.hedge) for one in state.tried] == [
            ("second", "hedged", True)
        ]
        assert "was used up" in state.tried[0].message
        [_, lost] = await gateway.rows(state.call.id)
        assert 0 < lost.cost_nano < 10_000_000


class SlowStore(MemorySharedStore):
    """It takes half a minute to hold more for a call."""

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        await self._clock.sleep(30.0)
        return await super().extend(hold_id, unit, more)


async def test_no_answer_waits_for_what_is_held_for_the_second(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(), shared=SlowStore(clock)) as gateway:
        runs(gateway, first=2.0, second=1.0)
        began = clock.monotonic()
        state, _ = await answered(gateway)
        assert clock.monotonic() - began < 5.0
        assert asked(gateway) == [1, 0, 0]
        assert (await row_of(gateway, state)).backend == "first"
        await nothing_is_left(gateway, state.call.id)
        await clock.advance(60.0)
        await nothing_is_left(gateway, state.call.id)


async def test_a_slow_store_is_waited_for_while_the_first_is_slower(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(), shared=SlowStore(clock)) as gateway:
        runs(gateway, first=90.0, second=1.0)
        state, _ = await answered(gateway)
        assert asked(gateway) == [1, 1, 0]
        assert (await row_of(gateway, state)).backend == "second"
        await nothing_is_left(gateway, state.call.id)


@pytest.mark.parametrize("winner", ["first", "second"])
async def test_a_limit_of_the_backends_that_a_reload_brings_holds_each_attempt_at_its_own(
    winner: str, tmp_path: Path, clock: FakeClock
) -> None:
    limits = "{spend: 5 USD/month, concurrent: 9}"
    brought = f"limits: {{backends: {{first: {limits}, second: {limits}}}}}\nplans:"
    async with assembled(tmp_path, clock, UNLIMITED) as gateway:
        runs(gateway, first=60.0, second=60.0)
        runs(gateway, **{winner: 3.0})
        state, task = gateway.start(body=b"x" * 4000)
        await gateway.until_asked("first")
        await clock.advance(1.0)
        await gateway.until_asked("second")
        await gateway.inner.apply(read(UNLIMITED.replace("plans:", brought)))
        for name in ("first", "second"):
            assert await held_at(gateway, name) == (1, True)
        await gateway.until_done([task], step=0.25)
        await gateway.inner.dispatcher.background.drain()
        rows = {row.backend: row.cost_nano for row in await gateway.rows(state.call.id)}
        assert set(rows) == {"first", "second"}
        for name, cost in rows.items():
            assert await held_at(gateway, name) == (0, False)
            assert await spent_at(gateway, name) == cost


async def held_at(gateway: AssembledGateway, backend: str) -> tuple[int, bool]:
    """Calls there, and whether money is held, in limits of the backend itself."""
    scope = f"backend:{backend}"
    claims = Claim(scope, "concurrent", "", 9, 1), Claim(scope, "nano_usd", "month", LIMIT, 0)
    calls, money = await gateway.inner.shared.statuses(claims)
    return 9 - calls.remaining, money.held > 0


async def spent_at(gateway: AssembledGateway, backend: str) -> int:
    claim = Claim(f"backend:{backend}", "nano_usd", "month", LIMIT, 0)
    [money] = await gateway.inner.shared.statuses((claim,))
    return LIMIT - money.remaining
