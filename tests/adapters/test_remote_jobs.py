"""Jobs that are known so that a call can be cancelled, at a platform that a test plays."""

from __future__ import annotations

import asyncio

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.remote_jobs import MOST_JOBS, TRIES, RemoteJobs
from adapters.types import Usage
from gateway.clock import FakeClock, settle

USED = Usage(exec_s=2.0)


class Platform:
    """Stops a job unless it ``refuses`` so many times first; holds back while ``busy`` is set."""

    def __init__(self, refuses: int = 0) -> None:
        self.refuses = refuses
        self.asked: list[str] = []
        self.free = asyncio.Event()
        self.free.set()

    async def stop(self, job: str) -> Usage | None:
        self.asked.append(job)
        await self.free.wait()
        if len(self.asked) <= self.refuses:
            raise BackendError(FailureClass.OVERLOADED, "not now")
        return USED


def named(answer: bytes) -> str:
    if not answer:
        raise BackendError(FailureClass.INVALID, "it was refused")
    return answer.decode()


async def test_a_job_is_stopped_once_and_says_what_it_used(clock: FakeClock) -> None:
    platform = Platform()
    jobs: RemoteJobs[str] = RemoteJobs(platform.stop, clock)
    jobs.remember("call", "job")
    assert await jobs.cancel("call") == USED
    assert await jobs.cancel("call") is None
    assert platform.asked == ["job"]


async def test_a_job_whose_end_was_seen_is_not_stopped(clock: FakeClock) -> None:
    platform = Platform()
    jobs: RemoteJobs[str] = RemoteJobs(platform.stop, clock)
    jobs.remember("call", "job")
    jobs.forget("call")
    assert await jobs.cancel("call") is None
    assert platform.asked == []


@pytest.mark.parametrize(("refuses", "used"), [(TRIES - 1, USED), (TRIES, None)])
async def test_a_platform_that_cannot_be_told_is_told_again_and_not_for_ever(
    clock: FakeClock, refuses: int, used: Usage | None
) -> None:
    platform = Platform(refuses)
    jobs: RemoteJobs[str] = RemoteJobs(platform.stop, clock)
    jobs.remember("call", "job")
    stopping = asyncio.ensure_future(jobs.cancel("call"))
    await settle()
    assert len(platform.asked) == 1
    await clock.advance(0.2)
    await clock.advance(0.4)
    assert await stopping == used
    assert len(platform.asked) == TRIES


async def test_a_submit_that_was_left_is_waited_for_and_its_job_stopped(clock: FakeClock) -> None:
    """Its answer alone names the job."""
    platform = Platform()
    jobs = RemoteJobs(platform.stop, clock, named=named)
    submit: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    caller = asyncio.ensure_future(jobs.submitted("call", submit))
    await settle()
    caller.cancel()
    await asyncio.wait([caller])
    stopping = asyncio.ensure_future(jobs.cancel("call"))
    await settle()
    assert platform.asked == []
    submit.set_result(b"job")
    assert await stopping == USED
    assert platform.asked == ["job"]


async def test_a_submit_that_was_refused_leaves_nothing_to_stop(clock: FakeClock) -> None:
    platform = Platform()
    jobs = RemoteJobs(platform.stop, clock, named=named)
    submit: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    jobs.keep("call", submit)
    submit.set_result(b"")
    assert await jobs.cancel("call") is None
    assert platform.asked == []


async def test_a_job_is_stopped_though_whoever_cancels_it_leaves(clock: FakeClock) -> None:
    """It would run for nobody."""
    platform = Platform(refuses=1)
    platform.free.clear()
    jobs: RemoteJobs[str] = RemoteJobs(platform.stop, clock)
    jobs.remember("call", "job")
    stopping = asyncio.ensure_future(jobs.cancel("call"))
    await settle()
    stopping.cancel()
    await asyncio.wait([stopping])
    platform.free.set()
    await settle()
    await clock.advance(0.2)
    assert len(platform.asked) == 2


async def test_closing_leaves_no_task_and_tells_no_platform(clock: FakeClock) -> None:
    before = asyncio.all_tasks()
    platform = Platform()
    platform.free.clear()
    jobs: RemoteJobs[str] = RemoteJobs(platform.stop, clock)
    jobs.remember("call", "job")
    jobs.remember("other", "another")
    stopping = asyncio.ensure_future(jobs.cancel("call"))
    await settle()
    await jobs.aclose()
    assert await stopping is None
    assert await jobs.cancel("other") is None
    assert platform.asked == ["job"]
    assert asyncio.all_tasks() == before


async def test_the_oldest_job_is_forgotten_where_there_are_too_many(clock: FakeClock) -> None:
    jobs: RemoteJobs[str] = RemoteJobs(Platform().stop, clock)
    for number in range(MOST_JOBS + 1):
        jobs.remember(f"call-{number}", f"job-{number}")
    jobs.remember("", "nobody's")
    assert len(jobs) == MOST_JOBS
    assert await jobs.cancel("call-0") is None
    assert await jobs.cancel("call-1") == USED
