"""Who has many jobs in line keeps nobody waiting who has few: counted in jobs that begin, of which
each takes as long as another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.jobs.accepting import AskedJob
from gateway.preferences import NO_PREFERENCES, Preferences
from gateway.types import Principal
from tests.gateway.jobs.gateways import POLICY, JobsGateway, with_jobs
from tests.waiting import until

MANY, FEW, USERS = 1000, 5, 10
FEW_IN_ALL = FEW * USERS
SHARE = FEW * (USERS + 1)
"""Jobs that begin until one with few has had its own, were all served in equal parts."""
TEXT = POLICY.replace("slots: 1, price", "slots: 4, concurrency: 4, price")
LOW = Preferences("low", None, 0)


async def accept(
    gateway: JobsGateway, user: str, count: int, preferences: Preferences = NO_PREFERENCES
) -> list[str]:
    asked = AskedJob(
        model="any",
        task="infer",
        body=b"{}",
        principal=Principal(key_id=f"key_{user}", user=user),
        preferences=preferences,
    )
    return [await gateway.jobs.accept(asked) for _ in range(count)]


async def begun(gateway: JobsGateway, most: int) -> list[str]:
    """The jobs that began first, in their order."""
    home = gateway.fake("home")

    async def enough() -> bool:
        await gateway.clock.advance(0.5)
        return len(home.calls) >= most

    await until(enough, f"{most} have begun", every_s=0.001)
    return [call.id for call in home.calls[:most]]


@pytest.mark.parametrize("slots", [1, 4])
async def test_ten_users_with_few_jobs_wait_no_longer_than_twice_their_share_behind_one_with_many(
    slots: int, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, text=TEXT) as gateway:
        home = gateway.fake("home")
        home.slots, home.runs_for = 0, 1.0  # nothing begins before all are in line
        many = set(await accept(gateway, "many", MANY))
        few = [id for n in range(USERS) for id in await accept(gateway, f"user{n}", FEW)]
        home.slots = slots

        first = await begun(gateway, 2 * SHARE)

        assert set(few) <= set(first)
        assert Counter(id in many for id in first)[True] >= SHARE - FEW_IN_ALL


async def test_jobs_of_low_priority_begin_after_all_others(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, text=TEXT) as gateway:
        home = gateway.fake("home")
        home.slots, home.runs_for = 0, 1.0
        late = set(await accept(gateway, "many", 60, LOW))
        soon = set(await accept(gateway, "user", 20))
        home.slots = 4

        first = await begun(gateway, 30)

        assert set(first[:20]) == soon
        assert set(first[20:]) <= late
