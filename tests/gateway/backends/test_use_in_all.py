"""What a process learns from calls that others have at a backend."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapters.fake import Fake, FakeSettings
from adapters.types import Usage
from gateway.backends.live import LiveBackend
from gateway.backends.use_in_all import BackendUse, UseInAll, matters
from gateway.clock import FakeClock
from gateway.shared_timer import SharedTimer
from tests.gateway.assembled import POLICY, read


class Told:
    """What a process has told of one backend; ``turn`` ends a turn of the loop."""

    def __init__(self, clock: FakeClock) -> None:
        self.told: list[BackendUse] = []
        self._due: list[Callable[[], None]] = []
        self.use = UseInAll(self.told.append, self._due.append, clock)

    def turn(self) -> list[BackendUse]:
        due, self._due[:] = [*self._due], []
        for work in due:
            work()
        told, self.told[:] = [*self.told], []
        return told


def backend_of(clock: FakeClock) -> LiveBackend:
    policy = read()
    spec = policy.backends["burst"]
    adapter = Fake("burst", FakeSettings(), clock)
    return LiveBackend(spec, policy.prices["flex"], adapter, clock, SharedTimer(clock))


@pytest.fixture
def backend(clock: FakeClock) -> LiveBackend:
    return backend_of(clock)


@pytest.fixture
def told(clock: FakeClock, backend: LiveBackend) -> Told:
    told = Told(clock)
    told.use.join(backend)
    return told


async def test_calls_are_told_of_once_in_a_turn(told: Told, backend: LiveBackend) -> None:
    first, ping = await backend.lease(), await backend.lease(ping=True)
    assert told.turn() == [BackendUse(1, 1, 2, 0)]
    backend.end(first, "far", Usage(exec_s=1.0), None)
    backend.end(ping, "", None, None)
    assert told.turn() == [BackendUse(0, 0, 2, 2)]
    assert told.turn() == []


async def test_the_backend_that_a_reload_puts_in_its_place_is_counted_with_it(
    told: Told, backend: LiveBackend, clock: FakeClock
) -> None:
    await backend.lease()
    told.use.hear(BackendUse(2, 0, 2, 0))
    after = backend_of(clock)
    told.use.join(after)
    assert after.calls_in_all == 2
    await after.lease()
    assert told.turn() == [BackendUse(2, 0, 2, 0)]


def test_a_worker_that_another_process_has_warmed_is_warm_here(
    told: Told, backend: LiveBackend
) -> None:
    told.use.hear(BackendUse(1, 0, 1, 0))
    assert (backend.calls_in_all, backend.warm_idle) == (1, 0)
    told.use.hear(BackendUse(0, 0, 1, 1))
    assert (backend.calls_in_all, backend.warm_idle) == (0, 1)
    told.use.hear(BackendUse(1, 0, 2, 1))
    assert (backend.calls_in_all, backend.warm_idle) == (1, 0)


def test_a_call_that_fails_elsewhere_leaves_no_worker_warm(
    told: Told, backend: LiveBackend
) -> None:
    told.use.hear(BackendUse(1, 0, 1, 0))
    told.use.hear(BackendUse(0, 0, 1, 0))
    assert (backend.calls_in_all, backend.warm_idle) == (0, 0)


def test_what_was_before_this_process_teaches_it_nothing(told: Told, backend: LiveBackend) -> None:
    told.use.hear(BackendUse(3, 0, 5000, 4997), first=True)
    assert (backend.calls_in_all, backend.warm_idle, backend.last_call) == (3, 0, None)


def test_pings_of_others_are_no_calls_of_anybody(
    told: Told, backend: LiveBackend, clock: FakeClock
) -> None:
    told.use.hear(BackendUse(0, 1, 1, 0))
    assert (backend.calls_in_all, backend.last_call) == (1, None)
    clock.move(5.0)
    told.use.hear(BackendUse(1, 1, 2, 0))
    assert backend.last_call == clock.monotonic()


async def test_a_gap_between_calls_is_one_between_those_of_all(
    told: Told, backend: LiveBackend, clock: FakeClock
) -> None:
    """They come every thirty seconds, here and elsewhere in turns: half a minute is what it pays
    to wait for, where each by itself would see a minute."""
    for number in range(6):
        lease = await backend.lease()
        backend.end(lease, "far", Usage(exec_s=1.0), None)
        clock.move(30.0)
        told.use.hear(BackendUse(1, 0, number + 1, number))
        told.use.hear(BackendUse(0, 0, number + 1, number + 1))
        clock.move(30.0)
    assert backend.learned.gaps.timeout(80.0) == 40.0


async def test_a_machine_is_shared_with_the_calls_of_others(
    told: Told, backend: LiveBackend, clock: FakeClock
) -> None:
    lease = await backend.lease()
    clock.move(4.0)
    told.use.hear(BackendUse(3, 0, 3, 0))
    clock.move(4.0)
    told.use.hear(BackendUse(0, 0, 3, 3))
    clock.move(2.0)
    assert backend.share_of(lease) * 10.0 == pytest.approx(4.0 + 1.0 + 2.0)


PRICES = {"reserved": True, "flex": False}


@pytest.mark.parametrize(("price", "counts"), PRICES.items(), ids=PRICES)
def test_of_backends_that_are_always_warm_those_paid_by_the_hour_matter(
    price: str, counts: bool, clock: FakeClock
) -> None:
    text = POLICY.replace("price: reserved", f"price: {price}")
    policy = read(text)
    spec = policy.backends["home"]
    assert matters(policy, spec, Fake("home", FakeSettings(), clock)) is counts


def test_of_backends_that_are_always_warm_those_in_the_warm_pool_matter(clock: FakeClock) -> None:
    text = POLICY.replace("price: reserved", "price: flex") + "warm_pool: {home: {}}\n"
    policy = read(text)
    assert matters(policy, policy.backends["home"], Fake("home", FakeSettings(), clock))
