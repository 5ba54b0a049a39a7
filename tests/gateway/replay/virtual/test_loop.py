"""Time leaps: what is due comes in the order of its instants, whatever is called off."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.replay.virtual.loop import VirtualLoop


def run_by(work: Coroutine[Any, Any, None]) -> float:
    """The instant at which it has ended."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)
        return runner.get_loop().time()


def test_an_hour_of_sleeps_takes_no_time_and_each_wakes_at_its_instant() -> None:
    woken: list[tuple[float, float]] = []

    async def sleeps(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, asyncio.get_running_loop().time()))

    async def all_of_them() -> None:
        draw = random.Random(1)
        await asyncio.gather(*(sleeps(draw.uniform(0, 3600)) for _ in range(500)))

    run_by(all_of_them())
    assert [asked for asked, _ in woken] == sorted(asked for asked, _ in woken)
    assert all(0 <= at - asked < 0.001 for asked, at in woken)


def test_of_two_of_one_instant_the_one_that_was_set_first_comes_first() -> None:
    called: list[int] = []

    async def set_them() -> None:
        loop = asyncio.get_running_loop()
        for number in range(50):
            loop.call_at(5.0, called.append, number)
        await asyncio.sleep(6.0)

    run_by(set_them())
    assert called == [*range(50)]


def test_what_is_called_off_is_not_called_and_is_not_kept() -> None:
    called: list[int] = []

    async def set_and_call_off() -> None:
        loop = asyncio.get_running_loop()
        for number in range(5000):
            timer = loop.call_later(1000.0 + number, called.append, number)
            if number % 100:
                timer.cancel()
                timer.cancel()
                assert timer.cancelled()
            if number % 50 == 0:
                await asyncio.sleep(0.1)
        await asyncio.sleep(10_000.0)

    run_by(set_and_call_off())
    assert called == [*range(0, 5000, 100)]


def test_timeouts_and_cancellations_are_asyncios_own() -> None:
    async def waits_in_vain() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30.0):
                await asyncio.Event().wait()
        task = asyncio.create_task(asyncio.sleep(100.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(lambda: 7) == 7

    assert 30.0 <= run_by(waits_in_vain()) < 31.0


def test_what_a_callback_fails_of_is_told_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails() -> None:
        raise ValueError("no")

    async def goes_on() -> None:
        asyncio.get_running_loop().call_soon(fails)
        await asyncio.sleep(1.0)

    with caplog.at_level(logging.ERROR):
        run_by(goes_on())
    assert "no" in caplog.text


def test_who_waits_for_what_never_comes_is_an_error() -> None:
    async def for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing is due any more"):
        run_by(for_ever())
