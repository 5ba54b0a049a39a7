"""The seconds for which a platform keeps and bills a worker after a burst are in somebody's row."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.money.committed import IDLE
from gateway.storage.base import Claim
from gateway.storage.queries import UsageQuery
from gateway.types import Principal
from tests.gateway.assembled import POLICY, AssembledGateway, assembled, read
from tests.waiting import until

BILLED = POLICY.replace("bills: [start, run]", "bills: [run, idle]")
"""A thousandth of a dollar a second; workers stay for a minute."""


async def burst(gateway: AssembledGateway, calls: int = 1, seconds: float = 2.0) -> None:
    gateway.fake("burst").runs_for = seconds
    tasks = [gateway.start("far")[1] for _ in range(calls)]
    await gateway.until_done(tasks, step=seconds / 4)


async def idle(gateway: AssembledGateway) -> tuple[int, int]:
    """Nano-dollars and microseconds of idle rows."""
    query = UsageQuery(group_by=(), where={"kind": "idle", "user": IDLE, "backend": "burst"})
    rows = (await gateway.inner.ledger.usage(query)).rows
    return sum(row.cost_nano for row in rows), sum(row.gpu_us for row in rows)


async def until_booked(gateway: AssembledGateway, nano: int) -> None:
    async def is_booked() -> bool:
        return (await idle(gateway))[0] == nano

    await until(is_booked, f"{nano} nano-dollars are booked")


async def test_a_worker_that_waited_in_vain_is_overhead_for_as_long_as_it_was_kept(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, BILLED) as gateway:
        await burst(gateway)
        await clock.advance(130.0)
        await until_booked(gateway, 60_000_000)
        assert (await idle(gateway))[1] == 60_000_000
        assert await gateway.spent() == 2_000_000


async def test_each_worker_of_a_burst_has_its_tail(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, BILLED) as gateway:
        await burst(gateway, calls=3)
        await clock.advance(130.0)
        await until_booked(gateway, 180_000_000)


async def test_a_worker_that_gets_a_call_meanwhile_has_waited_until_then(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, BILLED) as gateway:
        await burst(gateway)
        await clock.advance(20.0)
        await burst(gateway)
        await clock.advance(130.0)
        [nano, _] = await idle(gateway)
        await until_booked(gateway, nano)
        assert 78_000_000 <= nano <= 84_000_000


async def test_where_idle_seconds_are_not_billed_nothing_is_booked(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        await burst(gateway)
        await clock.advance(300.0)
        assert await idle(gateway) == (0, 0)


async def test_a_gateway_that_ends_books_what_the_platform_will_bill_after_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, BILLED) as gateway:
        await burst(gateway)
    async with assembled(tmp_path, clock, BILLED) as after:
        assert (await idle(after))[0] == 60_000_000


async def test_a_backend_that_a_reload_takes_out_has_its_tail(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, BILLED) as gateway:
        await burst(gateway)
        changed = BILLED.replace("idle_timeout: 60s", "idle_timeout: 30s")
        await gateway.inner.apply(read(changed))
        await clock.advance(1.0)
        await until_booked(gateway, 60_000_000)


# --- who pays -----------------------------------------------------------------------------------


def paid(rule: str) -> str:
    return BILLED.replace("idle_timeout: 60s", f"idle_timeout: 60s\n    idle_paid_by: {rule}")


async def by_user(gateway: AssembledGateway) -> dict[str, int]:
    """Nano-dollars of idle rows."""
    query = UsageQuery(group_by=("user",), where={"kind": "idle", "backend": "burst"})
    rows = (await gateway.inner.ledger.usage(query)).rows
    return {row.group["user"]: row.cost_nano for row in rows}


async def ask(gateway: AssembledGateway, user: str, seconds: float) -> None:
    gateway.fake("burst").runs_for = seconds
    who = Principal(key_id=f"key_{user}", user=user, plan="default")
    await gateway.until_done([gateway.start("far", principal=who)[1]], step=seconds / 4)


async def until_all_booked(gateway: AssembledGateway, nano: int) -> dict[str, int]:
    async def are_booked() -> bool:
        return sum((await by_user(gateway)).values()) >= nano

    await until(are_booked, f"{nano} nano-dollars are booked")
    return await by_user(gateway)


async def test_a_tail_is_paid_by_the_user_whose_call_it_follows(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A worker waits for bob's call after alice's, and then in vain."""
    async with assembled(tmp_path, clock, paid("to_cause")) as gateway:
        await ask(gateway, "alice", 2.0)
        await clock.advance(20.0)
        await ask(gateway, "bob", 2.0)
        await clock.advance(130.0)
        found = await until_all_booked(gateway, 78_000_000)
        assert found["bob"] == 60_000_000
        assert 18_000_000 <= found["alice"] <= 24_000_000
        assert found.keys() == {"alice", "bob"}


async def test_tails_are_paid_by_the_last_users_by_the_time_of_their_calls(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Also those that are booked when their calls are long over."""
    async with assembled(tmp_path, clock, paid("by_use")) as gateway:
        await ask(gateway, "alice", 1.0)
        await ask(gateway, "bob", 3.0)
        await clock.advance(130.0)
        found = await until_all_booked(gateway, 60_000_000)
        assert found["bob"] == 3 * found["alice"]
        assert sum(found.values()) == (await idle_of_all(gateway))


async def idle_of_all(gateway: AssembledGateway) -> int:
    """What the platform bills for the microseconds of all idle rows."""
    query = UsageQuery(group_by=(), where={"kind": "idle", "backend": "burst"})
    [row] = (await gateway.inner.ledger.usage(query)).rows
    return row.gpu_us


@pytest.mark.parametrize("rule", ["to_cause", "by_use"])
async def test_what_is_paid_by_users_counts_for_no_limit(
    rule: str, tmp_path: Path, clock: FakeClock
) -> None:
    text = paid(rule).replace("spend: 5 USD/month", "spend: 0.05 USD/month")
    async with assembled(tmp_path, clock, text) as gateway:
        await ask(gateway, "alice", 2.0)
        await clock.advance(130.0)
        assert (await until_all_booked(gateway, 60_000_000)) == {"alice": 60_000_000}
        [status] = await gateway.inner.shared.statuses(
            [Claim("user:alice", "nano_usd", "month", 50_000_000, 0)]
        )
        assert status.remaining == 48_000_000
