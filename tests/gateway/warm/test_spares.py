"""Spares are paid for, refused by the gateway's cap, and taken back by whoever set them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock
from gateway.money.scopes import ACCOUNT
from gateway.storage.base import Claim, SharedStore
from gateway.storage.memory import MemorySharedStore
from gateway.storage.queries import UsageQuery
from gateway.warm.kept import FileKept
from tests.gateway.assembled import POLICY, AssembledGateway, assembled, read
from tests.waiting import until

MONDAY_0800 = 1_767_600_000.0  # 2026-01-05 08:00 UTC
SPARE = """
warm_pool:
  burst: {hours: "Mon-Fri 08:00-20:00", keep: none, spare: 1}
"""
CAP = """
limits: {spend: 0.5 USD/day}
"""


@contextlib.asynccontextmanager
async def kept_warm(
    folder: Path, clock: FakeClock, text: str = POLICY + SPARE
) -> AsyncIterator[AssembledGateway]:
    async with assembled(folder, clock, text) as gateway:
        await told(gateway, 1)
        yield gateway


async def told(gateway: AssembledGateway, minimum: int) -> None:
    """A second at a time goes by, until the platform has been told, and it is written down."""
    kept = {"burst": minimum} if minimum else {}

    async def is_told() -> bool:
        await gateway.clock.advance(1.0)
        burst = gateway.fake("burst")
        return burst.minimum == minimum and gateway.inner.kept_workers.read() == kept

    await until(is_told, f"the platform keeps {minimum}", every_s=0.001)


async def test_a_backend_that_is_drained_gives_its_spare_back(tmp_path: Path) -> None:
    async with kept_warm(tmp_path, FakeClock(MONDAY_0800)) as gateway:
        gateway.inner.active.backends["burst"].draining = True
        await told(gateway, 0)
        gateway.inner.active.backends["burst"].draining = False
        await told(gateway, 1)


async def test_a_rule_that_a_reload_removes_gives_its_spare_back(tmp_path: Path) -> None:
    async with kept_warm(tmp_path, FakeClock(MONDAY_0800)) as gateway:
        await gateway.inner.apply(read(POLICY))
        await told(gateway, 0)


async def test_a_backend_that_a_reload_drops_gives_its_spare_back_before_it_is_closed(
    tmp_path: Path,
) -> None:
    async with kept_warm(tmp_path, FakeClock(MONDAY_0800)) as gateway:
        burst = gateway.fake("burst")
        lines = POLICY.splitlines()
        start = lines.index("  burst:")
        text = "\n".join(lines[:start] + lines[start + 7 :])
        text = text.replace("[home, burst]", "[home]").replace(
            "backends: [burst]", "backends: [home]"
        )
        await gateway.inner.apply(read(text))
        await until(lambda: burst.minimum == 0, "the old one is told")
        await gateway.clock.advance(1.0)
        await until(lambda: burst.closed, "it is closed then")


async def test_a_backend_whose_settings_change_is_told_at_both_places(tmp_path: Path) -> None:
    """Where other settings lead, nobody has set anything yet."""
    async with kept_warm(tmp_path, FakeClock(MONDAY_0800)) as gateway:
        old = gateway.fake("burst")
        changed = (POLICY + SPARE).replace("    kind: fake\n", "    kind: fake\n    slots: 9\n")
        await gateway.inner.apply(read(changed))
        await until(lambda: old.minimum == 0, "the old place is told")
        await told(gateway, 1)


async def test_a_gateway_that_ends_takes_back_what_it_has_set(tmp_path: Path) -> None:
    async with kept_warm(tmp_path, FakeClock(MONDAY_0800)) as gateway:
        burst = gateway.fake("burst")
    assert burst.minimum == 0
    assert FileKept(tmp_path / "kept-workers.json").read() == {}


async def test_what_a_gateway_that_died_has_set_is_taken_back_by_the_next_outside_the_hours(
    tmp_path: Path,
) -> None:
    """It is written down before the platform is told."""
    FileKept(tmp_path / "kept-workers.json").write({"burst": 2})
    async with assembled(tmp_path, FakeClock(MONDAY_0800 - 7_200), POLICY + SPARE) as gateway:
        await told(gateway, 0)


async def test_a_platform_that_cannot_be_told_is_told_again_and_forgotten_by_nobody(
    tmp_path: Path,
) -> None:
    """Neither by this process nor by the next."""
    async with kept_warm(tmp_path, FakeClock(MONDAY_0800)) as gateway:
        burst = gateway.fake("burst")
        burst.cannot_scale = BackendError(FailureClass.UNREACHABLE, "no answer")
        gateway.inner.active.backends["burst"].draining = True
        for _ in range(3):
            await gateway.clock.advance(1.0)
            await asyncio.sleep(0.005)
        assert gateway.inner.kept_workers.read() == {"burst": 1}
        burst.cannot_scale = None
        await told(gateway, 0)


async def test_the_seconds_in_which_a_spare_waits_are_rows_of_the_warm_pool(
    tmp_path: Path,
) -> None:
    """Those in which it runs a call are the caller's. A tick counts for the second before it."""
    clock = FakeClock(MONDAY_0800)
    began = clock.monotonic()
    async with kept_warm(tmp_path, clock) as gateway:
        for _ in range(100):
            await gateway.clock.advance(1.0)
        gateway.inner.active.backends["burst"].draining = True
        await told(gateway, 0)
        seconds = clock.monotonic() - began

        async def written() -> bool:
            return bool(
                (await gateway.inner.ledger.usage(UsageQuery(where={"task": "spare"}))).rows
            )

        await until(written, "the row is there")
        query = UsageQuery(group_by=("user", "kind"), where={"task": "spare"})
        [row] = (await gateway.inner.ledger.usage(query)).rows
        assert row.group == {"user": ACCOUNT, "kind": "ping"}
        assert 100e6 <= row.cost_nano <= seconds * 1e6


async def test_a_spend_cap_of_the_gateway_refuses_spares(tmp_path: Path) -> None:
    """Ten minutes of one would cost 0.60 USD."""
    async with assembled(tmp_path, FakeClock(MONDAY_0800), POLICY + SPARE + CAP) as gateway:
        for _ in range(20):
            await gateway.clock.advance(1.0)
            await asyncio.sleep(0.002)
        assert gateway.fake("burst").minimum is None


class Forgetful:
    """A shared store of one process that can be emptied."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        self._kept = MemorySharedStore(self._clock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)


async def free(gateway: AssembledGateway) -> int:
    claim = Claim("gateway", "nano_usd", "day", 10**9, 0)
    [status] = await gateway.inner.shared.statuses([claim])
    return status.remaining


@pytest.mark.parametrize("kind", ["spare", "ping"])
async def test_what_the_pool_holds_is_held_again_in_a_store_that_was_emptied(
    kind: str, tmp_path: Path
) -> None:
    """Until it is settled, and no longer."""
    clock = FakeClock(MONDAY_0800)
    store = Forgetful(clock)
    shared = cast("SharedStore", store)
    rule = SPARE if kind == "spare" else "\nwarm_pool:\n  burst: {ping_every: 50s}\n"
    cap = "\nlimits: {spend: 1 USD/day}\n"
    async with assembled(tmp_path, clock, POLICY + rule + cap, shared=shared) as gateway:
        burst = gateway.fake("burst")
        burst.cold_s = burst.runs_for = 20.0

        async def is_held() -> bool:
            await clock.advance(1.0)
            return await free(gateway) < 10**9

        await until(is_held, "something is held", every_s=0.001)
        held = await free(gateway)
        store.forget()
        assert gateway.inner.fill is not None
        await gateway.inner.fill(gateway.inner.active.policy)
        assert await free(gateway) == held
        gateway.inner.active.backends["burst"].draining = True

        async def is_settled() -> bool:
            await clock.advance(1.0)
            spent = await gateway.spent(ACCOUNT)
            return spent > 0 and await free(gateway) == 10**9 - spent

        await until(is_settled, "what it used is spent, and nothing is held", every_s=0.001)
        store.forget()
        await gateway.inner.fill(gateway.inner.active.policy)
        assert await free(gateway) == 10**9 - await gateway.spent(ACCOUNT)


async def test_a_spend_cap_of_the_gateway_refuses_pings(tmp_path: Path) -> None:
    """Callers and the pool share it."""
    rule = "\nwarm_pool:\n  burst: {ping_every: 50s}\n"
    cap = "\nlimits: {spend: 0.02 USD/day}\n"
    async with assembled(tmp_path, FakeClock(MONDAY_0800), POLICY + rule + cap) as gateway:
        burst = gateway.fake("burst")
        burst.cold_s = burst.runs_for = 2.0
        for _ in range(600):
            await gateway.clock.advance(1.0)
            await asyncio.sleep(0.001)
        spent = await gateway.spent(ACCOUNT)
        assert 0 < spent <= 20_000_000
        assert burst.pings == spent // 4_000_000
        refused = gateway.inner.metrics.pings.labels("burst", "refused")
        assert refused.value > 0


async def test_what_is_set_at_platforms_is_shown_to_admins(tmp_path: Path) -> None:
    """Of those too that the policy does not know any more."""
    FileKept(tmp_path / "kept-workers.json").write({"gone": 3})
    async with kept_warm_beside(tmp_path) as gateway:
        async with gateway.client(gateway.key("root", admin=True)) as client:
            told = (await client.get("/admin/backends")).json()
        kept = {row["backend"]: row["kept_workers"] for row in told["backends"]}
        assert kept == {"home": 0, "burst": 1}
        assert told["left_behind"] == {"gone": 3}


@contextlib.asynccontextmanager
async def kept_warm_beside(folder: Path) -> AsyncIterator[AssembledGateway]:
    """As ``kept_warm``, where something else is written down as well."""
    async with assembled(folder, FakeClock(MONDAY_0800), POLICY + SPARE) as gateway:

        async def is_told() -> bool:
            await gateway.clock.advance(1.0)
            return gateway.fake("burst").minimum == 1

        await until(is_told, "the platform is told", every_s=0.001)
        yield gateway
