"""A backend of a region comes back once it was well for long enough."""

from __future__ import annotations

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Probe, Usage
from gateway.backends.live import LiveBackend
from gateway.backends.outages import Outage
from gateway.clock import FakeClock
from tests.gateway.assembled import POLICY
from tests.gateway.backends.test_live import end, live_backend

IN_A_REGION = POLICY.replace(
    "slots: 2, price", "slots: 2, region: eu, return_after: 30s, price"
).replace("idle_timeout: 60s", "idle_timeout: 60s\n    region: us\n    return_after: 30s")
RETURN_AFTER_S = 30.0
GONE = BackendError(FailureClass.UNREACHABLE, "gone")


async def out_of_reach(backend: LiveBackend, clock: FakeClock) -> None:
    """Two calls in a row do not reach it; that ends 2 s after the second."""
    for _ in range(2):
        end(backend, await backend.lease(), failure=GONE)
        await clock.advance(2.0)


def test_an_outage_ends_when_it_was_well_without_a_break() -> None:
    outage = Outage(30.0)
    outage.hear(0.0, well=True)
    outage.hear(10.0, well=False)
    assert outage.keeps_away(100.0), "nobody has said that it is well"
    outage.hear(100.0, well=True)
    outage.hear(129.0, well=True)
    assert (outage.keeps_away(129.0), outage.back_at) == (True, 130.0)
    outage.hear(129.5, well=False)
    outage.hear(131.0, well=True)
    assert outage.keeps_away(160.0), "the break begins it anew"
    assert not outage.keeps_away(161.0)
    assert outage.back_at is None


def test_one_that_starts_for_the_first_time_is_back_from_nowhere() -> None:
    outage = Outage(30.0)
    outage.hear(0.0, well=False)
    outage.hear(5.0, well=True)
    assert not outage.keeps_away(5.0)


@pytest.mark.parametrize("name", ["home", "burst"])
async def test_what_calls_cannot_reach_twice_is_away(clock: FakeClock, name: str) -> None:
    """Its first good word ends the rest, not the outage; in between it is the last resort."""
    backend = live_backend(clock, name, IN_A_REGION)
    end(backend, await backend.lease(), failure=GONE)
    await clock.advance(2.0)
    end(backend, await backend.lease(), failure=GONE)
    assert backend.standing.of_call("chat", "alice", clock.monotonic())[0] == "cooling_down"
    await clock.advance(3.0)
    backend.probed(Probe(ready=True, warm_workers=1))
    await clock.advance(3.0)
    assert backend.standing.of_call("chat", "alice", clock.monotonic()) == ("returning", True)
    await clock.advance(26.9)
    assert backend.standing.blocked(clock.monotonic()) == "returning"
    await clock.advance(0.2)
    assert backend.standing.blocked(clock.monotonic()) == ""


async def test_an_answer_is_a_good_word_too(clock: FakeClock) -> None:
    """Of one that nobody can ask, and that is the last resort meanwhile."""
    backend = live_backend(clock, "home", IN_A_REGION)
    for _ in range(2):
        end(backend, await backend.lease(), failure=GONE)
        await clock.advance(2.0)
    end(backend, await backend.lease(), usage=Usage(exec_s=1.0))
    assert backend.standing.blocked(clock.monotonic()) == "returning"
    await clock.advance(30.0)
    assert backend.standing.blocked(clock.monotonic()) == ""


async def test_one_without_a_region_comes_back_at_its_first_good_word(clock: FakeClock) -> None:
    backend = live_backend(clock, "home", POLICY)
    backend.probed(Probe(ready=True))
    backend.probed(Probe(ready=False))
    backend.probed(Probe(ready=True))
    assert backend.standing.blocked(clock.monotonic()) == ""


async def test_a_platform_that_says_nothing_begins_no_outage(clock: FakeClock) -> None:
    """It may have no worker."""
    backend = live_backend(clock, "burst", IN_A_REGION)
    backend.probed(Probe(ready=True, warm_workers=1))
    backend.probed(Probe(ready=False, detail="not asked"))
    assert backend.standing.blocked(clock.monotonic()) == ""


@pytest.mark.parametrize("silent_s", [15.0, 27.0, 29.0, 3600.0])
async def test_a_platform_that_says_nothing_is_tried_again_after_as_long(
    clock: FakeClock, silent_s: float
) -> None:
    """Nobody asks it meanwhile, so no answer could end the outage."""
    backend = live_backend(clock, "burst", IN_A_REGION)
    backend.probed(Probe(ready=True, warm_workers=1))
    await out_of_reach(backend, clock)
    backend.probed(Probe(ready=False, detail="not asked"))
    await clock.advance(silent_s)
    backend.probed(Probe(ready=False, detail="not asked"))
    away = backend.standing.blocked(clock.monotonic()) == "returning"
    assert away == (silent_s + 2.0 < RETURN_AFTER_S)


async def test_a_good_word_begins_the_way_back(clock: FakeClock) -> None:
    backend = live_backend(clock, "burst", IN_A_REGION)
    backend.probed(Probe(ready=True, warm_workers=1))
    await out_of_reach(backend, clock)
    await clock.advance(RETURN_AFTER_S / 2)
    backend.probed(Probe(ready=False, warm_workers=0))
    await clock.advance(RETURN_AFTER_S - 1)
    assert backend.standing.blocked(clock.monotonic()) == "returning"
    await clock.advance(1)
    assert backend.standing.blocked(clock.monotonic()) == ""
