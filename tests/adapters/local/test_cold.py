"""Calls that wait for a worker to start, and what a start is known to take."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from adapters.base import ReportsStarts
from adapters.errors import BackendError, FailureClass
from tests.adapters.local.backends import call, failure, pids, running
from tests.waiting import until

SLOW = {"SLOW_IMPORT": "0.2", "SLOW_INIT": "0.4"}


async def test_a_call_that_may_wait_is_answered_by_the_worker_that_starts() -> None:
    """What it waited for is in its usage; a call after it has waited for nothing."""
    async with running("slow_start.py:app", env=SLOW, wait=False, wait_for_start=20) as backend:
        first = await backend.invoke(call("live"))
        assert first.usage.cold_s is not None
        assert first.usage.cold_s >= 0.6
        assert (await backend.invoke(call("live"))).usage.cold_s == 0.0


async def test_nothing_of_a_call_is_taken_to_run_while_it_waits_for_a_start() -> None:
    """So that no budget is charged for it."""
    async with running("slow_start.py:app", env=SLOW, wait=False, wait_for_start=20) as backend:
        waiting = call("live")
        reply = asyncio.create_task(backend.invoke(waiting))
        await until(lambda: waiting.progress.queued_until > time.monotonic())
        await reply
        assert 0 < waiting.progress.queued_until <= time.monotonic()


async def test_the_stages_of_a_start_are_measured_apart() -> None:
    """Each by the process itself."""
    async with running("slow_start.py:app", env=SLOW) as backend:
        assert isinstance(backend, ReportsStarts)
        stages = backend.start_stages
        assert list(stages) == ["process", "load", "init", "warmup"]
        assert stages["process"] > 0
        assert 0.2 <= stages["load"] < 20
        assert 0.4 <= stages["init"] < 20


async def test_while_a_worker_is_started_again_its_backend_says_why() -> None:
    """Though it is started at once."""
    async with running("slow_start.py:app", env=SLOW) as backend:
        await failure(backend, "die")
        await until(lambda: backend.slots == 0)
        details = []
        while backend.slots == 0:
            details.append((await backend.probe()).detail)
            await asyncio.sleep(0.01)
            assert len(details) < 2000
        assert "1 starting; worker 0: it exited with status 9" in details


async def test_what_a_start_took_predicts_the_next_one() -> None:
    """Before the first there is a guess of ten seconds, which is more than this call would wait."""
    async with running("slow_start.py:app", env=SLOW, wait=False, wait_for_start=9) as backend:
        assert backend.ready_in() is None
        await until(lambda: backend.slots > 0)
        assert backend.ready_in() == 0.0
        os.kill(pids()[0], signal.SIGKILL)
        await until(lambda: backend.slots == 0)
        predicted = backend.ready_in()
        assert predicted is not None
        assert predicted <= sum(backend.start_stages.values())
        assert (await backend.invoke(call("live"))).usage.cold_s


async def test_where_nothing_is_said_calls_wait_for_a_start_that_should_be_soon() -> None:
    """The router weighs the prediction against the other backends."""
    async with running("slow_start.py:app", env=SLOW, wait=False, wait_for_start=None) as backend:
        predicted = backend.ready_in()
        assert predicted is not None
        assert 0 < predicted <= 10
        first = await backend.invoke(call("live"))
        assert first.usage.cold_s is not None
        assert first.usage.cold_s >= 0.6


async def test_where_nothing_is_said_no_call_waits_for_an_app_that_does_not_exist() -> None:
    async with running("no_handlers.py:app", wait=False, wait_for_start=None) as backend:
        await until(lambda: backend.ready_in() is None)
        assert (await failure(backend, {})).failure is FailureClass.LOADING


async def test_a_call_past_its_patience_is_told_that_the_model_loads() -> None:
    async with running("broken/hang_in_init.py:app", wait=False, wait_for_start=0.2) as backend:
        error = await failure(backend, {})
        assert error.failure is FailureClass.LOADING


async def test_a_call_past_its_own_deadline_has_timed_out() -> None:
    async with running("broken/hang_in_init.py:app", wait=False, wait_for_start=60) as backend:
        error = await failure(backend, {}, deadline=time.monotonic() + 0.2)
        assert error.failure is FailureClass.TIMEOUT


async def test_a_call_does_not_wait_for_an_app_that_does_not_exist() -> None:
    """Nobody will ever start."""
    async with running("broken/no_handlers.py:app", wait=False, wait_for_start=60) as backend:
        assert (await failure(backend, {})).failure is FailureClass.LOADING


async def test_closing_lets_go_of_the_calls_that_wait() -> None:
    async with running("broken/hang_in_init.py:app", wait=False, wait_for_start=60) as backend:
        waiting = asyncio.create_task(backend.invoke(call({})))
        await asyncio.sleep(0)
        await backend.aclose()
        with pytest.raises(BackendError) as caught:
            await waiting
        assert caught.value.failure is FailureClass.LOADING
