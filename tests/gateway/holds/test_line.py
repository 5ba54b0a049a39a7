"""Who may wait in the line at a limit, and whose turn it is."""

from __future__ import annotations

import asyncio
from math import inf

from gateway.clock import FakeClock, settle
from gateway.holds.line import LOOKS_EVERY_S, MOST, RoomLines, WaitForRoom
from gateway.storage.base import Claim, LimitStatus

LIMIT = 10_000
QUARTER = 0.25
"""What calls cost of what is held for them."""


def full(take: int = 40, held: int = 400, unit: str = "nano_usd") -> LimitStatus:
    """A limit of which others hold so much, and nothing is left."""
    claim = Claim("user:a", unit, "month", LIMIT, take)  # type: ignore[arg-type]
    return LimitStatus(claim, 0, 60.0, held=held)


async def begin(
    lines: RoomLines, status: LimitStatus, until: float = inf
) -> tuple[WaitForRoom, asyncio.Task[bool]]:
    """A call that waits, or was told that it need not."""
    wait = WaitForRoom(lines, QUARTER, until)
    task = asyncio.ensure_future(wait.wait(status))
    await settle()
    return wait, task


async def test_who_came_first_looks_first(clock: FakeClock) -> None:
    lines = RoomLines(clock)
    (first, one), (_, other) = await begin(lines, full()), await begin(lines, full())
    lines.wake([full().claim])
    await settle()
    assert (one.done(), other.done()) == (True, False)
    first.__exit__(None, None, None)
    await settle()
    assert other.result()
    assert lines.at


async def test_the_first_looks_by_itself_and_the_others_do_not(clock: FakeClock) -> None:
    lines = RoomLines(clock)
    (_, one), (_, other) = await begin(lines, full()), await begin(lines, full())
    await clock.advance(LOOKS_EVERY_S)
    assert one.result()
    await clock.advance(10 * LOOKS_EVERY_S)
    assert not other.done()
    other.cancel()


async def test_who_is_told_while_it_looks_looks_again_at_once(clock: FakeClock) -> None:
    lines = RoomLines(clock)
    wait, task = await begin(lines, full())
    lines.wake([full().claim])
    assert await task
    lines.wake([full().claim])
    again = asyncio.ensure_future(wait.wait(full()))
    await settle()
    assert again.result()


async def test_a_wait_ends_with_its_time(clock: FakeClock) -> None:
    lines = RoomLines(clock)
    await begin(lines, full())
    _, task = await begin(lines, full(), clock.monotonic() + 5.0)
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.1)
    assert not task.result()


async def test_nobody_waits_where_the_ends_of_others_make_no_room(clock: FakeClock) -> None:
    lines = RoomLines(clock)
    for status in (full(held=0), full(take=301), full(unit="calls"), full(unit="concurrent")):
        _, task = await begin(lines, status)
        assert not task.result(), status
    assert not lines.at
    _, task = await begin(lines, full(take=300))
    assert not task.done()
    task.cancel()


async def test_no_more_wait_than_there_will_probably_be_room_for_and_a_quarter(
    clock: FakeClock,
) -> None:
    """Three hundred come back, and each costs ten."""
    lines = RoomLines(clock)
    tasks = [(await begin(lines, full()))[1] for _ in range(40)]
    assert sum(not task.done() for task in tasks) == 37
    for task in tasks:
        task.cancel()


async def test_no_line_is_longer_than_it_may_be(clock: FakeClock) -> None:
    lines = RoomLines(clock)
    status = full(take=1, held=LIMIT)
    turns = [lines.join(status, QUARTER, inf) for _ in range(MOST + 1)]
    assert turns.count(None) == 1
    for turn in turns:
        if turn is not None:
            lines.leave(turn)
    assert not lines.at
