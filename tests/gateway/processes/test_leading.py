"""What one process alone must do for all is done once, whoever of them does it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from gateway.money.committed import IDLE
from gateway.money.scopes import ACCOUNT
from gateway.storage.queries import UsageQuery
from gateway.types import MICRO
from tests.gateway.assembled import POLICY
from tests.gateway.processes.machine import Machine, Member, machine_of
from tests.waiting import until

MONDAY_0800 = 1_767_600_000.0  # 2026-01-05 08:00 UTC
PINGED = POLICY + "warm_pool:\n  burst: {hours: 'Mon-Fri 07:00-20:00', ping_every: 50s}\n"
SPARES = POLICY + "warm_pool:\n  burst: {hours: 'Mon-Fri 07:00-20:00', spare: 2, keep: none}\n"
TAILED = POLICY.replace("bills: [start, run]", "bills: [run, idle]")
BY_THE_HOUR = POLICY.replace("price: flex", "price: reserved").replace(
    "    cold_start: {p50: 5s, p95: 9s}\n    idle_timeout: 60s\n", ""
)


@pytest.fixture
def monday() -> FakeClock:
    return FakeClock(epoch=MONDAY_0800)


async def pass_time(machine: Machine, seconds: float, step: float = 5.0) -> None:
    """In steps, and whatever one set off ends before the next."""
    for _ in range(int(seconds / step)):
        await machine.clock.advance(step)
        for _ in range(5):
            await asyncio.sleep(0.001)


async def sums(machine: Machine, **where: str) -> tuple[int, int]:
    """Nano-dollars and microseconds of the device, of some rows."""
    ledger = next(iter(machine.members.values())).gateway.inner.ledger
    rows = (await ledger.usage(UsageQuery(group_by=(), where=where))).rows
    return sum(row.cost_nano for row in rows), sum(row.gpu_us for row in rows)


def pings(machine: Machine) -> list[int]:
    return [fake.pings for fake in machine.fakes("burst")]


def kept(member: Member) -> int:
    """Workers that it knows the platform to keep."""
    return member.gateway.inner.active.backends["burst"].workers.held.count


async def call(member: Member, model: str = "far", seconds: float = 2.0) -> None:
    """One call, which takes so long."""
    member.gateway.fake("burst").runs_for = seconds
    task = member.gateway.start(model)[1]
    await member.gateway.until_done([task], step=seconds / 4)


async def test_one_leads_and_another_when_it_ends(tmp_path: Path, clock: FakeClock) -> None:
    machine = Machine(tmp_path, clock, POLICY, 2)
    async with machine.member(3):
        async with machine.member(1), machine.member(2):
            await clock.advance(1.0)
            first = machine.leader
            first.parts.lease.retire()
            await clock.advance(1.0)
            assert machine.leader is not first
        await clock.advance(2.0)
        assert [one.leads for one in machine.members.values()] == [first.number != 3]


async def test_only_who_leads_pings_and_pays(tmp_path: Path, monday: FakeClock) -> None:
    async with machine_of(3, tmp_path, monday, PINGED) as machine:
        before = sum(pings(machine))
        for fake in machine.fakes("burst"):
            fake.runs_for = 0.25
        await pass_time(machine, 300)
        assert sorted(pings(machine))[:2] == [0, 0]
        sent = sum(pings(machine)) - before
        assert sent >= 5
        await monday.advance(1.0)
        await until_sum(machine, sent * 250_000, user=ACCOUNT)


async def until_sum(machine: Machine, nano: int, **where: str) -> None:
    async def is_booked() -> bool:
        return (await sums(machine, **where))[0] == nano

    await until(is_booked, f"{nano} nano-dollars are booked", within_s=10.0)


async def test_calls_of_others_keep_a_backend_warm(tmp_path: Path, monday: FakeClock) -> None:
    """No ping is due while another process's calls come."""
    async with machine_of(2, tmp_path, monday, PINGED) as machine:
        [follower] = machine.followers
        await pass_time(machine, 10)
        before = sum(pings(machine))
        for _ in range(10):
            await call(follower)
            await pass_time(machine, 20)
        assert sum(pings(machine)) == before


async def test_who_hangs_leads_no_more_before_another_does(
    tmp_path: Path, monday: FakeClock
) -> None:
    async with machine_of(2, tmp_path, monday, PINGED) as machine:
        hung, [other] = machine.leader, machine.followers
        hung.hangs = True
        for _ in range(100):
            await monday.advance(0.1)
            assert hung.leads + other.leads <= 1
        assert other.leads
        before = hung.gateway.fake("burst").pings
        await pass_time(machine, 120)
        assert hung.gateway.fake("burst").pings == before
        assert other.gateway.fake("burst").pings >= 2


async def test_a_minimum_is_told_once_and_taken_back_by_the_last(
    tmp_path: Path, monday: FakeClock
) -> None:
    async with machine_of(2, tmp_path, monday, SPARES) as machine:
        leader, [other] = machine.leader, machine.followers
        fakes = leader.gateway.fake("burst"), other.gateway.fake("burst")
        await pass_time(machine, 10)
        assert [one.minimum for one in fakes] == [2, None]
        assert [kept(one) for one in (leader, other)] == [2, 2]
    assert [one.minimum for one in fakes] == [0, None]


async def test_a_leader_that_hands_over_leaves_the_minimum_to_the_next(
    tmp_path: Path, monday: FakeClock
) -> None:
    async with machine_of(2, tmp_path, monday, SPARES) as machine:
        leader, [other] = machine.leader, machine.followers
        fakes = leader.gateway.fake("burst"), other.gateway.fake("burst")
        await pass_time(machine, 100)
        leader.parts.lease.retire()
        await pass_time(machine, 100)
        assert other.leads
        assert [one.minimum for one in fakes] == [2, 2]
    assert [one.minimum for one in fakes] == [2, 0]


async def test_spare_seconds_are_paid_once_by_whoever_leads(
    tmp_path: Path, monday: FakeClock
) -> None:
    """Two spares for two times a hundred seconds, and not for the time in which nobody led."""
    async with machine_of(2, tmp_path, monday, SPARES) as machine:
        leader, [other] = machine.leader, machine.followers
        await pass_time(machine, 100, step=1.0)
        leader.parts.lease.retire()
        await pass_time(machine, 100, step=1.0)
        assert other.leads
        other.parts.lease.retire()
        await pass_time(machine, 5, step=1.0)
        nano, us = await sums(machine, user=ACCOUNT)
        passed_s = monday.monotonic() - 1000.0
        assert 2 * (passed_s - 8) * MICRO <= us <= 2 * passed_s * MICRO
        assert nano == us


async def test_idle_tails_of_a_worker_that_all_use_are_those_of_one_worker(
    tmp_path: Path, monday: FakeClock
) -> None:
    """A call of one process ends its wait that another's began."""
    async with machine_of(2, tmp_path, monday, TAILED) as machine:
        members = [machine.leader, *machine.followers]
        for _ in range(2):
            for member in members:
                await call(member)
                await pass_time(machine, 10)
        await pass_time(machine, 130)
        _, us = await sums(machine, kind="idle", user=IDLE, backend="burst")
        assert 88_000_000 <= us <= 96_000_000  # three times ten, and a minute after the last


async def test_idle_tails_are_booked_once_over_a_change_of_leaders(
    tmp_path: Path, monday: FakeClock
) -> None:
    async with machine_of(2, tmp_path, monday, TAILED) as machine:
        leader, [other] = machine.leader, machine.followers
        await call(leader)
        await pass_time(machine, 130)
        await until_sum(machine, 60_000_000, kind="idle", user=IDLE)
        leader.hangs = True
        await pass_time(machine, 10)
        await call(other)
        await pass_time(machine, 130)
        assert other.leads
        await until_sum(machine, 120_000_000, kind="idle", user=IDLE)


async def test_calls_of_two_processes_at_once_share_a_machine_by_the_hour(
    tmp_path: Path, monday: FakeClock
) -> None:
    """A thousandth of a dollar a second: ten seconds of the machine are ten calls' seconds."""
    async with machine_of(2, tmp_path, monday, BY_THE_HOUR) as machine:
        tasks = []
        for fake in machine.fakes("burst"):
            fake.runs_for = 10.0
            fake.answers = lambda _: Reply(body=b"{}", usage=Usage(exec_s=10.0))
        for member in machine.members.values():
            tasks += [member.gateway.start("far")[1] for _ in range(2)]
        await machine.leader.gateway.until_done(tasks, step=1.0)
        nano, us = await sums(machine, user="alice")
        assert nano == pytest.approx(10_000_000, rel=0.05)
        assert us == pytest.approx(10_000_000, rel=0.05)
