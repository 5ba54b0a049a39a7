"""What is known of limits that have no room, and when it is forgotten."""

from __future__ import annotations

import msgspec

from gateway.clock import FakeClock
from gateway.holds.full import LOOKS_EVERY_S, FullLimits
from gateway.storage.base import Claim, LimitStatus, Refused

CLAIM = Claim("backend:a", "nano_usd", "day", 100, 10)
OTHER = Claim("backend:b", "nano_usd", "day", 100, 10)


def told(claim: Claim = CLAIM, again_s: float = 3600.0) -> Refused:
    return Refused(LimitStatus(claim, 5, again_s, held=20), again_s)


def full(clock: FakeClock, refused: Refused | None = None) -> FullLimits:
    known = FullLimits(clock)
    known.saw(refused or told())
    return known


def test_a_call_that_takes_as_much_is_told_the_same(clock: FakeClock) -> None:
    larger = msgspec.structs.replace(CLAIM, take=12)
    refused = full(clock).refuses([OTHER, larger])
    assert refused is not None
    assert refused.status == LimitStatus(larger, 5, 3600.0, held=20)


def test_a_smaller_call_and_one_elsewhere_are_asked(clock: FakeClock) -> None:
    known = full(clock)
    assert known.refuses([msgspec.structs.replace(CLAIM, take=9)]) is None
    assert known.refuses([OTHER]) is None
    assert known.refuses([CLAIM]) is not None


def test_it_is_forgotten_after_a_moment_or_sooner_where_there_may_be_room(clock: FakeClock) -> None:
    known, rate = full(clock), full(clock, told(again_s=0.1))
    clock.move(0.1)
    assert known.refuses([CLAIM]) is not None
    assert rate.refuses([CLAIM]) is None
    clock.move(LOOKS_EVERY_S)
    assert known.refuses([CLAIM]) is None
    assert not known.known


def test_it_is_forgotten_when_a_call_ends_there(clock: FakeClock) -> None:
    known = full(clock)
    known.forget([OTHER])
    assert known.refuses([CLAIM]) is not None
    known.forget([CLAIM])
    assert known.refuses([CLAIM]) is None


def test_another_limit_is_another(clock: FakeClock) -> None:
    assert full(clock).refuses([msgspec.structs.replace(CLAIM, limit=200)]) is None
