"""The seconds for which a platform keeps and bills a worker after a burst are in somebody's row."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import FakeClock
from gateway.money.committed import IDLE
from gateway.storage.queries import UsageQuery
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
