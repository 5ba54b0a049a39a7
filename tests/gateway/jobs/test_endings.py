"""What is held again of a job while its end is under way is given back with its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.jobs.ending import JobEnding
from gateway.jobs.news import JobNews
from gateway.jobs.outcomes import CANCELED
from gateway.jobs.run import JobRun
from gateway.storage.base import Claim
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.memory import MemorySharedStore
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.outbox import SqliteStatements
from tests.gateway.storage.sqlite.ledger_rows import open_row, settled_row
from tests.gateway.storage.test_jobs import job, take

CLAIM = Claim("user:alice", "nano_usd", "month", limit=100, take=60)


async def ended(
    tmp_path: Path, clock: FakeClock, shared: MemorySharedStore, *, by_another: bool
) -> None:
    """A job whose call is settled, and for which something was held anew since."""
    jobs = SqlJobs(SqliteStatements(tmp_path / "ledger.db"))
    ledger = SqliteLedger(tmp_path / "ledger.db", clock=clock)
    await jobs.accept(job(), open_row(id="job_1", claims=(CLAIM,)))
    [taken] = await take(jobs)
    if by_another:
        await jobs.leave("job_1", taken.epoch)
        await take(jobs, "two")
    await ledger.settle([settled_row(id="job_1")])
    await shared.reinstate("job_1", (CLAIM,), 86_400.0)
    ending = JobEnding(store=jobs, shared=shared, clock=clock, news=JobNews(clock), views={})
    await ending.end(JobRun(taken, jobs, clock), CANCELED)
    await jobs.aclose()
    await ledger.aclose()


@pytest.mark.parametrize("by_another", [False, True], ids=["ours", "another gateway's"])
async def test_what_is_held_anew_of_a_job_that_ends_goes_with_its_end(
    tmp_path: Path, clock: FakeClock, by_another: bool
) -> None:
    shared = MemorySharedStore(clock)
    await ended(tmp_path, clock, shared, by_another=by_another)
    [status] = await shared.statuses((CLAIM,))
    assert status.remaining == (40 if by_another else 100)
