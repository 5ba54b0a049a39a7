"""Waiting for a job's end, for as long as its caller does."""

from __future__ import annotations

import asyncio

from gateway.api.requests.bodies import ClientGone
from gateway.api.requests.request import Receive
from gateway.jobs.jobs import Jobs
from gateway.storage.jobs.base import StoredJob


async def until_ended(jobs: Jobs, job: StoredJob, longest_s: float, receive: Receive) -> StoredJob:
    """The job once it has ended, or as it stands after so many seconds. Raises ClientGone as soon
    as its caller has hung up; the job goes on."""
    waiting = asyncio.ensure_future(jobs.ended(job.id, longest_s))
    listening = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((waiting, listening), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientGone
        return waiting.result() or job
    finally:
        waiting.cancel()
        listening.cancel()
        await asyncio.wait((waiting, listening))


async def until_ended_or_stopped(
    jobs: Jobs, job: StoredJob, longest_s: float, receive: Receive
) -> StoredJob:
    """The same; but a job whose caller has gone before it was told the id is canceled, since nobody
    could ask for what it comes to."""
    try:
        return await until_ended(jobs, job, longest_s, receive)
    except ClientGone:
        await jobs.worker.cancel(job.id)
        raise


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
