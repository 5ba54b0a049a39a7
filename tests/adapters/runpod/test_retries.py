"""A RunPod job that waits, and one that failed and is run again."""

from __future__ import annotations

import pytest

from adapters.errors import BackendError
from gateway.clock import FakeClock
from tests.adapters.runpod.platform import DONE, a_call, job, platform, polled
from tests.adapters.servers import answer, drive

# --- where a job is -----------------------------------------------------------------------------


async def test_a_call_tells_until_when_its_job_waited(clock: FakeClock) -> None:
    """So that a wait in the platform's queue is not taken for a run."""
    call = a_call()
    answers = [job("IN_QUEUE"), job("IN_QUEUE"), job("IN_PROGRESS"), job("IN_PROGRESS")]
    async with platform(clock, *answers, job(**DONE), poll_every=1.0) as (backend, _):
        began = clock.monotonic()
        await drive(clock, backend.invoke(call))
    assert call.progress.queued_until == pytest.approx(began, abs=0.2)
    assert clock.monotonic() - began > 2.5


async def test_a_streamed_call_tells_it_too(clock: FakeClock) -> None:
    call = a_call(stream=True)
    polls = [polled("IN_QUEUE")] * 20 + [polled("COMPLETED", 1)]
    async with platform(clock, job("IN_QUEUE"), *polls, job(**DONE)) as (backend, _):
        began = clock.monotonic()
        await drive(clock, backend.invoke(call))
    assert call.progress.queued_until > began + 19 * 0.1


async def test_a_poll_that_failed_says_nothing_of_the_queue(clock: FakeClock) -> None:
    call = a_call(stream=True)
    answers = [job("IN_QUEUE"), answer({}, 429, Retry_After="3"), polled("COMPLETED", 1)]
    async with platform(clock, *answers, job(**DONE)) as (backend, _):
        began = clock.monotonic()
        await drive(clock, backend.invoke(call))
    assert call.progress.queued_until == pytest.approx(began, abs=0.2)
    assert clock.monotonic() - began > 2.5


# --- running a failed job again -----------------------------------------------------------------

BROKEN = job("FAILED", error="CUDA error", executionTime=1000, workerId="w1")


async def test_a_failed_job_is_run_again_under_its_own_id_and_both_runs_are_charged(
    clock: FakeClock,
) -> None:
    answers = [BROKEN, job("IN_QUEUE"), job("IN_QUEUE"), job(**{**DONE, "executionTime": 500})]
    async with platform(clock, *answers, retries=1) as (backend, script):
        reply = await drive(clock, backend.invoke(a_call()))
    assert script.targets()[1:] == ["POST /v2/ep/retry/j1"] + ["GET /v2/ep/status/j1"] * 2
    assert reply.body == b'{"y":2}'
    assert reply.usage.exec_s == 1.5


async def test_a_job_is_run_again_no_more_often_than_is_allowed(clock: FakeClock) -> None:
    answers = [BROKEN, job("IN_QUEUE"), BROKEN, job("IN_QUEUE"), BROKEN]
    async with platform(clock, *answers, retries=2) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(a_call()))
    assert caught.value.usage is not None
    assert caught.value.usage.exec_s == 3.0
    assert len(script.requests) == 5


@pytest.mark.parametrize(
    "end",
    [
        job("FAILED", error={"message": "bad", "code": 400}),
        job("CANCELLED"),
        job("TIMED_OUT"),
    ],
)
async def test_what_another_run_would_not_mend_is_not_run_again(
    clock: FakeClock, end: bytes
) -> None:
    async with platform(clock, end, retries=3) as (backend, script):
        with pytest.raises(BackendError):
            await backend.invoke(a_call())
        assert len(script.requests) == 1


async def test_a_retry_that_the_platform_refuses_leaves_the_first_failure(
    clock: FakeClock,
) -> None:
    async with platform(clock, BROKEN, answer({}, 404), retries=3) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call())
        assert caught.value.message == "CUDA error"
        assert len(script.requests) == 2


async def test_a_job_whose_retry_may_have_been_taken_is_stopped(clock: FakeClock) -> None:
    answers = [BROKEN, b"", job("CANCELLED"), job("CANCELLED", executionTime=200)]
    async with platform(clock, *answers, retries=1) as (backend, script):
        with pytest.raises(BackendError):
            await backend.invoke(a_call())
        assert script.targets()[2] == "POST /v2/ep/cancel/j1"
