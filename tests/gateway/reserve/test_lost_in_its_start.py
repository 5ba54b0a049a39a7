"""A start whose end comes late, or of which nobody hears: no machine runs on that nobody knows."""

from __future__ import annotations

import asyncio

import pytest

from gateway.clock import FakeClock, settle
from gateway.reserve.hooks import Action, HookOutcome
from gateway.reserve.rented import Rented
from gateway.storage.base import StorageUnavailable
from gateway.storage.memory import MemorySharedStore
from gateway.storage.rented.base import StoredInstance
from gateway.storage.rented.memory import MemoryInstances
from gateway.tasks import BackgroundTasks
from tests.gateway.reserve.stage import DONE, UNKNOWN, Stage, ToldHooks


class SlowPlatform(ToldHooks):
    """A machine runs so long after it was asked for, whoever still waits for it; one that does not
    run yet is stopped in vain, and the platform says that it is done."""

    def __init__(self, clock: FakeClock, after_s: float, patience_s: float = 1e6) -> None:
        super().__init__()
        self._clock = clock
        self._after_s = after_s
        self._patience_s = patience_s
        self._tasks = BackgroundTasks()
        self.have_run: list[str] = []
        self.run: set[str] = set()

    async def call(self, hook: str, action: Action, rented: Rented, token: str = "") -> HookOutcome:
        self.asked.append((action, rented.id, hook))
        if action == "stop":
            self.run.discard(rented.id)
            return DONE
        self._tasks.run(self._boot(rented.id))
        await self._clock.sleep(min(self._after_s, self._patience_s))
        return DONE if self._after_s <= self._patience_s else UNKNOWN

    async def _boot(self, id: str) -> None:
        await self._clock.sleep(self._after_s)
        self.have_run.append(id)
        self.run.add(id)

    async def aclose(self) -> None:
        await self._tasks.cancel()


class Reached(MemoryInstances):
    """The same instances as another's; nobody reaches them while it is ``cut``."""

    cut = False

    def __init__(self, clock: FakeClock, other: MemoryInstances) -> None:
        super().__init__(clock.time)
        self._instances, self._leases = other._instances, other._leases

    async def put(self, holder: str, one: StoredInstance, lease_s: float) -> bool:
        if self.cut:
            raise StorageUnavailable("cut")
        return await super().put(holder, one, lease_s)

    async def renew(self, holder: str, lease_s: float) -> set[str]:
        if self.cut:
            raise StorageUnavailable("cut")
        return await super().renew(holder, lease_s)


class Two:
    """Gateways with one store; ``one`` is about to start an instance, and ``other`` starts none."""

    def __init__(self, clock: FakeClock, platform: ToldHooks, others: ToldHooks) -> None:
        self.clock = clock
        store, shared = MemoryInstances(clock.time), MemorySharedStore(clock)
        self.reached = Reached(clock, store)
        self.one = Stage(clock, store=self.reached, shared=shared, hooks=platform)
        self.other = Stage(clock, store=store, shared=shared, hooks=others, first=5)
        self.one.advised, self.other.leads = 1, False

    async def pass_by(self, seconds: float, *stages: Stage) -> None:
        for _ in range(round(seconds / 5.0)):
            await self.clock.advance(5.0)
            for stage in stages:
                await stage.keeper.tick()
            await settle()


@pytest.mark.parametrize("is_cut", [False, True], ids=["paused", "cut off"])
async def test_who_finds_lost_what_it_has_started_stops_it(clock: FakeClock, is_cut: bool) -> None:
    """Though the other one is asked to stop it in vain, having no way to."""
    platform, others = SlowPlatform(clock, after_s=200.0), ToldHooks()
    two = Two(clock, platform, others)
    await two.pass_by(70.0, two.one)
    two.reached.cut = is_cut
    two.one.advised = 0
    await two.pass_by(250.0, two.other, *([two.one] if is_cut else []))
    assert platform.have_run == ["i0"]
    two.reached.cut = False
    await two.pass_by(3600.0, two.one, two.other)
    assert (platform.have_run, platform.run) == (["i0"], set())
    assert two.one.keeper.commitments() == {}
    [ended] = two.other.written()
    assert (ended.state, ended.ended) == ("ended", ended.began + 3600)
    await platform.aclose()


async def test_what_the_other_one_knows_to_run_is_left_to_it(clock: FakeClock) -> None:
    """Its start was written down, though nobody said so to whoever wrote."""

    class Silent(MemoryInstances):
        async def put(self, holder: str, one: StoredInstance, lease_s: float) -> bool:
            done = await super().put(holder, one, lease_s)
            if '"up"' in one.document:
                raise StorageUnavailable("the connection broke")
            return done

    store, shared = Silent(clock.time), MemorySharedStore(clock)
    stage = Stage(clock, store=store, shared=shared)
    other = Stage(clock, store=store, shared=shared, first=5)
    stage.advised = other.advised = 1
    await stage.passes(95.0, step=5.0)
    assert stage.states() == ["up"]
    await other.passes(90.0)
    await stage.passes(30.0)
    assert (stage.hooks.actions, stage.keeper.commitments()) == (["start"], {})
    assert len(other.keeper.commitments() or {}) == 1


async def test_one_taken_over_in_its_start_is_stopped_once_that_is_surely_over(
    clock: FakeClock,
) -> None:
    """Its gateway is dead, and a first stop found nothing."""
    platform = SlowPlatform(clock, after_s=200.0)
    two = Two(clock, platform, platform)
    await two.pass_by(70.0, two.one)
    two.reached.cut = True
    await two.pass_by(600.0, two.other)
    assert platform.actions == ["start", "stop", "stop"]
    assert (platform.have_run, platform.run) == (["i0"], set())
    assert two.other.states() == ["ended"]
    await platform.aclose()


async def test_one_whose_start_timed_out_is_stopped_once_that_is_surely_over(
    clock: FakeClock,
) -> None:
    platform = SlowPlatform(clock, after_s=120.0, patience_s=60.0)
    two = Two(clock, platform, platform)
    await two.pass_by(70.0, two.one)
    two.one.advised = 0
    await two.pass_by(600.0, two.one)
    assert (platform.have_run, platform.run) == (["i0"], set())
    assert two.one.states() == ["ended"]
    await platform.aclose()


async def test_one_that_is_handed_over_in_its_start_is_stopped_once_that_is_surely_over(
    clock: FakeClock,
) -> None:
    platform = SlowPlatform(clock, after_s=120.0)
    two = Two(clock, platform, platform)
    await two.pass_by(70.0, two.one)
    await two.one.keeper.hand_over()
    await two.pass_by(600.0, two.other)
    assert (platform.have_run, platform.run) == (["i0"], set())
    assert two.other.states() == ["ended"]
    await platform.aclose()


async def test_a_gateway_that_ends_in_a_start_leaves_it_to_the_next(clock: FakeClock) -> None:
    platform = SlowPlatform(clock, after_s=120.0)
    two = Two(clock, platform, platform)
    await two.pass_by(70.0, two.one)
    await two.one.keeper.aclose()
    assert two.one.states() == ["stopping"]
    await two.pass_by(600.0, two.other)
    assert (platform.run, two.other.states()) == (set(), ["ended"])
    await platform.aclose()


@pytest.mark.parametrize("error", [OverflowError(), ExceptionGroup("", [OSError()])], ids=repr)
async def test_a_hook_that_fails_in_an_unforeseen_way_leaves_nothing_behind(
    clock: FakeClock, error: Exception
) -> None:
    class Odd(ToldHooks):
        async def call(
            self, hook: str, action: Action, rented: Rented, token: str = ""
        ) -> HookOutcome:
            await super().call(hook, action, rented, token)
            if action == "start":
                raise error
            return DONE

    stage = Stage(clock, hooks=Odd())
    stage.advised = 1
    await stage.passes(90.0)
    stage.advised = 0
    await stage.passes(600.0)
    assert stage.hooks.actions == ["start", "stop", "stop"]
    assert stage.states() == ["ended"]


async def test_what_could_not_be_written_down_in_time_is_not_started(clock: FakeClock) -> None:
    """Another gateway could have it by then."""

    class Slow(MemoryInstances):
        may = asyncio.Event()

        async def put(self, holder: str, one: StoredInstance, lease_s: float) -> bool:
            await self.may.wait()
            return await super().put(holder, one, lease_s)

    stage = Stage(clock, store=Slow(clock.time))
    stage.advised = 1
    for _ in range(6):
        await clock.advance(30.0)
        await stage.keeper.tick()
        await settle()
    Slow.may.set()
    await stage.keeper.drain()
    assert (stage.hooks.asked, stage.written()) == ([], [])
