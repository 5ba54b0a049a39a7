"""The warm pool at work: pings are sent on time, written down, and known to the router."""

from __future__ import annotations

import asyncio
from pathlib import Path

from adapters.errors import BackendError, FailureClass
from gateway.backends.candidates import candidate_of
from gateway.clock import FakeClock
from gateway.money.scopes import ACCOUNT
from gateway.storage.queries import UsageQuery
from gateway.warm.account import WarmAccount
from gateway.warm.keeper import WarmKeeper
from gateway.warm.kept import MemoryKept
from gateway.warm.minimums import WorkerMinimums
from gateway.warm.prober import Prober
from tests.gateway.assembled import POLICY, AssembledGateway, assembled

MONDAY_0630 = 1_767_594_600.0  # 2026-01-05 06:30 UTC
HOURS = """
warm_pool:
  burst: {hours: "Mon-Fri 08:00-20:00", ahead: 30m, ping_every: 50s}
"""


def keeper_of(gateway: AssembledGateway, clock: FakeClock) -> WarmKeeper:
    """One beside the gateway's own."""
    inner = gateway.inner
    return WarmKeeper(
        active=lambda: inner.active,
        account=WarmAccount(
            shared=inner.shared, ledger=inner.ledger, settler=inner.settler, clock=clock
        ),
        minimums=WorkerMinimums(kept=MemoryKept(), clock=clock),
        clock=clock,
        metrics=inner.metrics,
    )


async def pass_time(gateway: AssembledGateway, seconds: float, step: float = 10.0) -> None:
    """Time goes by in steps, and whatever it set off ends before the next."""
    for _ in range(int(seconds / step)):
        await gateway.clock.advance(step)
        for _ in range(5):
            await asyncio.sleep(0.002)


async def test_a_cold_backend_is_pinged_awake_before_its_hours_and_its_first_call_is_warm(
    tmp_path: Path,
) -> None:
    """At 07:50 it is woken, paid by the warm pool; at 08:00 the first caller waits for nothing."""
    clock = FakeClock(epoch=MONDAY_0630 + 4200)
    text = POLICY + HOURS.replace("30m", "10m")
    async with assembled(tmp_path, clock, text) as gateway:
        burst = gateway.fake("burst")
        burst.cold_s = 7.0
        await pass_time(gateway, 500)
        assert burst.pings == 0
        await pass_time(gateway, 200)
        assert burst.pings >= 2
        burst.cold_s = 0.0
        await pass_time(gateway, 500)
        backend = gateway.inner.active.backends["burst"]
        assert candidate_of(backend, "far", clock.monotonic()).load.warm_idle == 1
        state = gateway.call_state("far")
        await gateway.ask(state)
        row = await gateway.row(state.call.id)
        assert (row.reason, row.cold_us) == ("WARM", 0)


async def test_every_ping_is_a_row_of_the_warm_pools_account(tmp_path: Path) -> None:
    """Idle keeping is on the bill, and no user pays for it."""
    clock = FakeClock(epoch=MONDAY_0630 + 3600)
    async with assembled(tmp_path, clock, POLICY + HOURS) as gateway:
        burst = gateway.fake("burst")
        burst.runs_for = 0.25
        await pass_time(gateway, 300)
        [row] = (await gateway.inner.ledger.usage(UsageQuery(group_by=("user", "kind")))).rows
        assert row.group == {"user": ACCOUNT, "kind": "ping"}
        assert row.calls == 0
        assert row.cost_nano == burst.pings * 250_000 > 0


async def test_a_ping_that_fails_is_a_row_too_and_blames_the_backend(tmp_path: Path) -> None:
    """The pool goes on; the router knows."""
    clock = FakeClock(epoch=MONDAY_0630 + 3600)
    async with assembled(tmp_path, clock, POLICY) as gateway:
        keeper = keeper_of(gateway, clock)
        backend = gateway.inner.active.backends["burst"]
        gateway.fake("burst").refuses = BackendError(FailureClass.UNREACHABLE, "refused")
        for _ in range(3):
            await keeper.ping(backend, gateway.fake("burst"), "cold")
        rows = (await gateway.inner.ledger.usage(UsageQuery(group_by=("outcome",)))).rows
        assert [(row.group["outcome"], row.cost_nano) for row in rows] == [("error", 0)]
        assert backend.standing.blocked(clock.monotonic()) == "cooling_down"


async def test_a_platform_is_told_its_minimum_in_the_hours_and_zero_after_them(
    tmp_path: Path,
) -> None:
    """Where it can be told so, no ping is needed to hold a spare."""
    clock = FakeClock(epoch=MONDAY_0630 + 5000)
    text = POLICY + HOURS.replace("ahead: 30m", "ahead: 0s, spare: 2").replace("20:00", "08:10")
    async with assembled(tmp_path, clock, text) as gateway:
        burst = gateway.fake("burst")
        await pass_time(gateway, 300)
        assert burst.minimum is None
        await pass_time(gateway, 300)
        assert burst.minimum == 2
        await pass_time(gateway, 600)
        assert burst.minimum == 0


async def test_what_a_platform_says_of_its_workers_beats_what_was_believed(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It took the worker down early: the next call is known to be cold."""
    async with assembled(tmp_path, clock) as gateway:
        await gateway.ask(gateway.call_state("far"))
        backend = gateway.inner.active.backends["burst"]
        assert backend.is_warm
        gateway.fake("burst").warm_workers = 0
        await Prober(active=lambda: gateway.inner.active, clock=clock).tick()
        assert not backend.is_warm
