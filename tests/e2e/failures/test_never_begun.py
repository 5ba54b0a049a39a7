"""A call that a platform never began: nothing is owed for it, another backend is asked, and the
books and the record of the call say so; whole, as a stream and as a job of the platform."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.base import LongRunning
from adapters.errors import BackendError, FailureClass, Ran
from adapters.types import Call
from gateway.clock import FakeClock
from gateway.money.call_reports import call_json
from gateway.routing.health import LONGEST_S
from tests.e2e.failures.test_faults import STEP_S, WELL_COSTS, Scene
from tests.e2e.failures.test_job_queues import PLATFORMS, Platform, scene
from tests.e2e.failures.test_matrix import BOB, pass_by
from tests.e2e.servers.job_plane import Trouble

F = FailureClass
MEANS: dict[Trouble, FailureClass] = {
    "paused": F.GONE,
    "paused_in_words": F.GONE,
    "no_endpoint": F.GONE,
    "no_credit": F.QUOTA,
    "no_credit_in_words": F.QUOTA,
    "stuck": F.NOT_STARTED,
    "cancelled_early": F.NOT_STARTED,
    "cancelled_at_once": F.NOT_STARTED,
    "fails_early": F.NOT_STARTED,
    "too_late": F.NOT_STARTED,
}
SAYS_OTHERWISE: dict[tuple[str, Trouble], FailureClass] = {
    ("huggingface", "stuck"): F.LOADING,
    ("huggingface", "cancelled_early"): F.GONE,
    ("huggingface", "too_late"): F.OVERLOADED,
    ("cog", "stuck"): F.LOADING,
    ("cog", "too_late"): F.OVERLOADED,
}
"""Platforms that hold a call have no jobs that end."""
ONE_CALLER_SHUTS_IT = (F.NOT_STARTED, F.LOADING)
"""What no request can have caused, whatever its status; else a second caller must meet it too."""
STREAMED = ("runpod", "replicate")
"""The others stream what they hold, and refuse it alike."""
WITH_JOBS = ("runpod", "replicate", "baseten")
CELLS = [
    pytest.param(name, trouble, stream, id=f"{name}-{trouble}-{'stream' if stream else 'whole'}")
    for name, platform in PLATFORMS.items()
    for trouble in MEANS
    if trouble not in platform.spared
    for stream in ((False, True) if name in STREAMED else (False,))
]


def means(name: str, trouble: Trouble) -> FailureClass:
    return SAYS_OTHERWISE.get((name, trouble), MEANS[trouble])


@pytest.mark.parametrize(("name", "trouble", "stream"), CELLS)
async def test_it_costs_nothing_goes_elsewhere_and_is_told(
    name: str, trouble: Trouble, stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    async with scene(tmp_path, clock, PLATFORMS[name]) as (stage, plane):
        plane.trouble = trouble
        told = await stage.call("auto", stream=stream)
        assert (told.answered, told.backend, told.charged) == (True, "well", WELL_COSTS)
        record = call_json(await stage.gateway.rows(stage.last))
        [attempt] = record["attempts"]
        assert (attempt["backend"], attempt["error"]) == ("auto", means(name, trouble).slug)
        assert (attempt["cost_nano"], attempt["gpu_seconds"]) == (0, 0.0)
        assert attempt["message"]
        assert record["total_cost_nano"] == WELL_COSTS
        await _rests_for_whom_it_concerns(stage, means(name, trouble))
        assert plane.left == [] or not PLATFORMS[name].stops


async def _rests_for_whom_it_concerns(stage: Scene, kind: FailureClass) -> None:
    """Nobody's own request shuts a backend to others, unless no request can have caused it."""
    backend = stage.gateway.inner.active.backends["auto"]

    def shut_to_others() -> bool:
        return (
            backend.standing.blocked(stage.gateway.clock.monotonic(), "auto", "carol") is not None
        )

    if kind in ONE_CALLER_SHUTS_IT:
        assert shut_to_others()
        return
    for _ in range(2):
        if shut_to_others():
            return
        assert (await stage.call("auto", stream=False, principal=BOB)).answered
    assert shut_to_others()


JOBS = [
    pytest.param(PLATFORMS[name], means(name, trouble), trouble, id=f"{name}-{trouble}")
    for name in WITH_JOBS
    for trouble in MEANS
    if trouble not in (*PLATFORMS[name].spared, "stuck")
]
"""One that is stuck has no end of its own: its time is up."""


@pytest.mark.parametrize(("platform", "kind", "trouble"), JOBS)
async def test_so_it_is_with_a_job_of_the_platforms(
    platform: Platform, kind: FailureClass, trouble: Trouble, tmp_path: Path, clock: FakeClock
) -> None:
    async with scene(tmp_path, clock, platform) as (stage, plane):
        plane.trouble = trouble
        adapter = stage.gateway.inner.active.backends["auto"].adapter
        assert isinstance(adapter, LongRunning)
        soon = clock.monotonic() + 20.0
        call = Call(id="j1", model="auto", task=platform.task, body=b"{}", deadline=soon)
        ending = asyncio.ensure_future(_end_of(adapter, call, clock))
        await stage.gateway.until_done([ending], step=STEP_S)
        failure = await ending
        assert (failure.failure, failure.ran) == (kind, Ran.NO)


async def _end_of(adapter: LongRunning, call: Call, clock: FakeClock) -> BackendError:
    try:
        handle = await adapter.submit(call)
        while (await adapter.poll(handle)).status != "done":
            await clock.sleep(1.0)
    except BackendError as error:
        return error
    raise AssertionError("the job was answered")


async def test_a_job_that_was_seen_to_run_is_paid_whatever_its_end_leaves_out(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A worker that never reports back leaves no time behind: what was seen is charged."""
    async with scene(tmp_path, clock, PLATFORMS["runpod"]) as (stage, plane):
        plane.trouble, plane.tells_times = "times_out", False
        told = await stage.call("auto", stream=False)
        assert (told.answered, told.ledger) == (False, FailureClass.TIMEOUT.slug)
        assert told.charged >= 900_000


@pytest.mark.parametrize("name", WITH_JOBS)
async def test_calls_that_never_began_teach_how_long_a_start_takes(
    name: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Eleven calls wait their whole time in line: the twelfth is not told what the first was."""
    async with scene(tmp_path, clock, PLATFORMS[name]) as (stage, plane):
        plane.trouble = "stuck"
        foretold = []
        for _ in range(12):
            told = await stage.call("alone", stream=False)
            assert (told.answered, told.charged, told.ledger) == (False, 0, "not_started")
            record = call_json(await stage.gateway.rows(stage.last))
            foretold.append(record["decision"]["candidates"][0]["predicted_delay_seconds"])
            await pass_by(clock, LONGEST_S)
        assert foretold[0] <= 2.0
        assert foretold[-1] >= 5.0
