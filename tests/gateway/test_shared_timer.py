"""One timer for all who may have to be looked at later."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from gateway.clock import FakeClock, Timer
from gateway.shared_timer import EVERY_S, LaterLooks, SharedTimer


class CountingClock(FakeClock):
    """Knows how many timers were set."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = 0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.timers += 1
        return super().call_later(seconds, callback)


async def test_a_member_is_looked_at_on_every_round_until_it_leaves(clock: FakeClock) -> None:
    """And is told the time of the round."""
    timer, seen = SharedTimer(clock), list[float]()
    start = clock.monotonic()
    timer.watch("a", seen.append)
    await clock.advance(3.5 * EVERY_S)
    timer.unwatch("a")
    await clock.advance(3 * EVERY_S)
    assert seen == pytest.approx([start + EVERY_S * turn for turn in (1, 2, 3)])


async def test_a_thousand_members_share_one_timer_and_none_is_left_when_they_are_gone() -> None:
    clock = CountingClock()
    timer = SharedTimer(clock)
    for member in range(1000):
        timer.watch(member, lambda _: None)
    assert clock.timers == 1
    for member in range(1000):
        timer.unwatch(member)
    await clock.advance(100 * EVERY_S)
    assert clock.timers == 1


async def test_the_rounds_begin_again_with_the_next_member(clock: FakeClock) -> None:
    timer, seen = SharedTimer(clock), list[float]()
    timer.watch("a", lambda _: timer.unwatch("a"))
    await clock.advance(5 * EVERY_S)
    timer.watch("b", seen.append)
    await clock.advance(2 * EVERY_S)
    assert len(seen) == 2


async def test_a_member_may_leave_and_another_join_while_the_round_is_made(
    clock: FakeClock,
) -> None:
    """The new one is looked at from the next round on."""
    timer, seen = SharedTimer(clock), list[float]()

    def hand_over(_: float) -> None:
        timer.unwatch("a")
        timer.watch("b", seen.append)

    timer.watch("a", hand_over)
    await clock.advance(EVERY_S)
    assert seen == []
    await clock.advance(EVERY_S)
    assert len(seen) == 1


async def test_a_member_joins_once(clock: FakeClock) -> None:
    """Its later look takes the place of the earlier one."""
    timer, first, second = SharedTimer(clock), list[float](), list[float]()
    timer.watch("a", first.append)
    timer.watch("a", second.append)
    await clock.advance(EVERY_S)
    assert (len(first), len(second)) == (0, 1)


async def test_a_look_that_fails_is_logged_and_ends_nobody_elses(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise one fault would end the budgets' watch over every call."""
    timer, seen = SharedTimer(clock), list[float]()

    def fails(_: float) -> None:
        raise ValueError("a fault")

    timer.watch("a", fails)
    timer.watch("b", seen.append)
    with caplog.at_level(logging.ERROR, "spillgate"):
        await clock.advance(3 * EVERY_S)
    assert len(seen) == 3
    assert len(caplog.records) == 1, "it was looked at no more"


async def test_a_member_that_joins_later_is_no_matter_until_then() -> None:
    """Two timers are set for ten minutes: that of the first to join, and then the rounds'."""
    clock = CountingClock()
    start, seen = clock.monotonic(), dict[str, float]()
    later = LaterLooks(SharedTimer(clock), clock)

    def look(name: str) -> Callable[[float], None]:
        def seen_at(now: float) -> None:
            later.unwatch(name)
            seen[name] = now - start

        return seen_at

    for name, after_s in (("a", 600.0), ("b", 900.0), ("gone", 700.0)):
        later.watch(name, look(name), start + after_s)
    later.unwatch("gone")
    await clock.advance(599.0)
    assert (seen, clock.timers) == ({}, 1)
    later.watch("c", look("c"), start + 599.5)
    await clock.advance(900.0)
    assert seen == pytest.approx({"c": 599.5, "a": 600.0, "b": 900.0}, abs=1.01 * EVERY_S)
    before = clock.timers
    await clock.advance(600.0)
    assert clock.timers == before, "nobody is left"
