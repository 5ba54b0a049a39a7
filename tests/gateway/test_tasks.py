"""Work that outlives the one that began it runs to its end, and what it fails of is said."""

from __future__ import annotations

import asyncio

import pytest

from gateway.clock import settle
from gateway.tasks import BackgroundTasks, take_back_cancellation


class Work:
    """Ends when it is told to."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.ended = False

    async def run(self) -> None:
        await self.may_end.wait()
        self.ended = True


async def test_work_goes_on_when_the_one_that_waits_for_it_is_cancelled() -> None:
    background, work = BackgroundTasks(), Work()
    waiting = asyncio.ensure_future(background.shielded(work.run()))
    await settle()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    work.may_end.set()
    await background.drain()
    assert work.ended


async def test_draining_waits_for_work_that_begins_meanwhile() -> None:
    background, later = BackgroundTasks(), Work()

    async def first() -> None:
        background.run(later.run())
        later.may_end.set()

    background.run(first())
    await background.drain()
    assert later.ended


async def test_what_shielded_work_raises_reaches_the_one_that_waits() -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await BackgroundTasks().shielded(fails())


async def test_work_that_nobody_waits_for_says_what_it_failed_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails() -> None:
        raise KeyError("x")

    background = BackgroundTasks()
    background.run(fails())
    await background.drain()
    await settle()
    assert "a background task failed" in caplog.text
    assert "KeyError" in caplog.text


async def test_cancelled_work_has_ended_when_cancel_returns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And it has not failed."""
    background, work = BackgroundTasks(), Work()
    task = background.run(work.run())
    await settle()
    await background.cancel()
    assert task.cancelled()
    assert not caplog.records


async def test_a_cancellation_that_is_taken_back_ends_no_timeout_around_it() -> None:
    """Without it, the task would count as cancelled for all that follows."""

    async def stopped() -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            take_back_cancellation()
        return task.cancelling()

    assert await asyncio.ensure_future(stopped()) == 0
