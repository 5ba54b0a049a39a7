"""The page of jobs tells admins what begins by the clock."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import FakeClock
from gateway.console.sign_in.cookies import PREFIX
from tests.gateway.console.visitors import browser
from tests.gateway.schedules.gateways import MINUTE, often, policy_with, with_schedules

PAGE = f"{PREFIX}/jobs"


async def test_an_admin_sees_when_a_schedule_comes_next_and_what_became_of_the_last(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = policy_with(often(cron="1 0 * * *").replace("key_night", "key_none"))
    async with with_schedules(tmp_path, clock, text) as gateway:
        await gateway.at(MINUTE - 1)
        await gateway.until_runs(1)
        async with browser(gateway, gateway.key("root", admin=True)) as admin:
            told = (await admin.get(PAGE)).text
        async with browser(gateway, gateway.key("night")) as user:
            own = (await user.get(PAGE)).text

    assert "2026-01-01T00:01:00" in told
    assert "2026-01-02T00:01:00" in told
    assert "refused" in told
    assert "there is no key key_none" in told
    assert "a job of any" in told
    assert "Schedules" not in own


async def test_where_nothing_begins_by_the_clock_nothing_is_told_of_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with (
        with_schedules(tmp_path, clock, policy_with()) as gateway,
        browser(gateway, gateway.key("root", admin=True)) as admin,
    ):
        told = await admin.get(PAGE)
    assert told.status_code == 200
    assert "Schedules" not in told.text
