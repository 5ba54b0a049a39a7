"""Workers of this machine that come and go: by the calls, and as the gateway asks."""

from __future__ import annotations

import pytest

from adapters.base import Scalable
from adapters.local.backend import Local
from adapters.local.bounds import LocalWorkers
from adapters.local.settings import LocalSettings
from adapters.settings import SettingError
from gateway.clock import SystemClock
from tests.adapters.local.backends import call, running, workers

NONE_IDLE = LocalWorkers(min=0, max=2, grow_after=0.0, shrink_after=300.0)


async def test_no_worker_runs_until_it_is_needed_or_held() -> None:
    """A call starts one and waits for it; what is held goes when it is held no more."""
    async with running(
        "slow_start.py:app", wait=False, workers=NONE_IDLE, wait_for_start=20
    ) as one:
        assert isinstance(one, Scalable)
        await workers(one, 0)
        assert one.ready_in() is not None, "a call would start one"
        one.watch(lambda: 1)
        first = await one.invoke(call("live"))
        assert first.usage.cold_s
        one.watch(lambda: 0)
        await one.keep_workers(2)
        await workers(one, 2)
        await one.keep_workers(0)
        await workers(one, 0)


@pytest.mark.parametrize(
    ("settings", "can"),
    [
        (LocalSettings(app="a.py:app", workers=2), False),
        (LocalSettings(app="a.py:app", workers=NONE_IDLE), True),
        (LocalSettings(sockets="run"), False),
    ],
    ids=["fixed", "bounded", "found"],
)
def test_only_workers_that_come_and_go_can_be_held(settings: LocalSettings, can: bool) -> None:
    assert isinstance(Local.class_of(settings)("home", settings, SystemClock()), Scalable) is can


def test_a_range_without_workers_and_spares_beside_one_are_refused() -> None:
    with pytest.raises(SettingError, match="at least min"):
        LocalWorkers(min=3, max=2)
    with pytest.raises(SettingError, match="larger min"):
        LocalSettings(app="a.py:app", workers=NONE_IDLE, standby="loaded")
