"""Every store of schedules decides each instant once, in the step that begins what it is for."""

from __future__ import annotations

import msgspec

from gateway.clock import FakeClock
from gateway.storage.batches.base import StoredBatch
from gateway.storage.schedules.base import NewWork, ScheduledRun, StoredSchedule, Timetable
from tests.gateway.storage.books import Books, OpenBooks, open_books
from tests.gateway.storage.test_jobs import job, row

__all__ = ["open_books"]

HOURLY = Timetable("0 * * * *", "Europe/Berlin")
LEASE_S = 120.0
NOON = 1_770_000_000.0


def begun(at: float, work: str = "") -> ScheduledRun:
    return ScheduledRun(schedule="nightly", instant=at, outcome="begun", work=work)


async def taken(books: Books, worker: str = "one") -> StoredSchedule:
    await books.schedules.add("nightly", HOURLY, NOON)
    found = await books.schedules.take("nightly", worker, LEASE_S)
    assert found is not None
    return found


async def test_one_at_a_time_has_a_lease_and_who_has_lost_it_decides_nothing(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as books:
        first = await taken(books)
        assert await books.schedules.take("nightly", "two", LEASE_S) is None

        clock.move(LEASE_S + 1)
        second = await taken(books, "two")

        assert second.epoch == first.epoch + 1
        assert not await books.schedules.decide("nightly", first.epoch, begun(NOON + 60))
        assert not await books.schedules.change("nightly", first.epoch, Timetable(), NOON)
        assert await books.schedules.decide("nightly", second.epoch, begun(NOON + 60))
        assert await books.schedules.leave("nightly", second.epoch)
        assert (await taken(books)).place == NOON + 60


async def test_a_lease_that_is_renewed_is_nobody_elses_until_it_is_left(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as books:
        first = await taken(books)
        clock.move(LEASE_S - 1)

        assert await books.schedules.renew("nightly", first.epoch, LEASE_S)
        clock.move(LEASE_S - 1)
        assert await books.schedules.take("nightly", "two", LEASE_S) is None

        assert await books.schedules.leave("nightly", first.epoch)
        assert not await books.schedules.renew("nightly", first.epoch, LEASE_S)
        await taken(books, "two")
        assert not await books.schedules.renew("nightly", first.epoch, LEASE_S)


async def test_a_job_is_there_with_its_decision_or_neither_is(open_books: OpenBooks) -> None:
    async with open_books() as books:
        lease, work = await taken(books), NewWork(job=job(), row=row())

        refused = await books.schedules.decide("nightly", 99, begun(NOON + 60, "job_1"), work)
        nothing = await books.jobs.get("job_1")
        done = await books.schedules.decide("nightly", lease.epoch, begun(NOON + 60, "job_1"), work)

        found = await books.jobs.get("job_1")
        assert (refused, nothing, done) == (False, None, True)
        assert found is not None
        assert (found.state, found.row) == ("queued", row())
        assert [event.data for event in await books.jobs.events("job_1", 0, 10)] == [
            '{"state":"queued"}'
        ]
        [run] = await books.schedules.runs("nightly", 10)
        assert (run.work, run.outcome, run.state) == ("job_1", "begun", "queued")
        assert await books.schedules.alive("nightly") == "job_1"


async def test_an_instant_is_decided_once(open_books: OpenBooks) -> None:
    async with open_books() as books:
        lease, work = await taken(books), NewWork(job=job(), row=row())
        again = NewWork(job=job("job_2"), row=row("job_2"))

        first = await books.schedules.decide(
            "nightly", lease.epoch, begun(NOON + 60, "job_1"), work
        )
        second = await books.schedules.decide(
            "nightly", lease.epoch, begun(NOON + 60, "job_2"), again
        )

        run = await books.schedules.run_at("nightly", NOON + 60)
        assert (first, second) == (True, False)
        assert await books.jobs.get("job_2") is None
        assert run is not None
        assert run.work == "job_1"


async def test_a_job_for_which_its_users_line_is_full_is_not_there(open_books: OpenBooks) -> None:
    async with open_books() as books:
        lease, work = await taken(books), NewWork(job=job(most_waiting=0), row=row())

        await books.schedules.decide("nightly", lease.epoch, begun(NOON + 60, "job_1"), work)

        [run] = await books.schedules.runs("nightly", 10)
        assert await books.jobs.get("job_1") is None
        assert (run.outcome, run.work) == ("refused", "")
        assert await books.ledger.rows("job_1") == []


async def test_a_batch_is_there_with_its_decision(open_books: OpenBooks) -> None:
    async with open_books() as books:
        lease = await taken(books)
        batch = StoredBatch(
            id="batch_1",
            user="alice",
            key_id="key_alice",
            endpoint="/v1/embeddings",
            input_file="file_1",
            within="24h",
            created_at=NOON,
            deadline=4e9,
            budget_nano=None,
            metadata="null",
            request="{}",
        )

        await books.schedules.decide(
            "nightly", lease.epoch, begun(NOON + 60, "batch_1"), NewWork(batch=batch)
        )

        assert await books.batches.get("batch_1") == msgspec.structs.replace(batch, epoch=0)
        assert await books.schedules.alive("nightly") == "batch_1"


async def test_another_timetable_holds_from_its_moment_on(open_books: OpenBooks) -> None:
    async with open_books() as books:
        lease = await taken(books)

        await books.schedules.change("nightly", lease.epoch, Timetable("5 * * * *"), NOON + 90)
        await books.schedules.add("nightly", HOURLY, NOON + 500)

        [found] = await books.schedules.all()
        assert found.timetable == Timetable("5 * * * *")
        assert (found.place, found.changed_at) == (NOON + 90, NOON + 90)


async def test_runs_of_long_ago_are_forgotten(open_books: OpenBooks, clock: FakeClock) -> None:
    async with open_books() as books:
        now = clock.time()
        await books.schedules.add("nightly", HOURLY, now - 200.0)
        lease = await taken(books)
        for at in (now - 100.0, now - 10.0):
            await books.schedules.decide("nightly", lease.epoch, begun(at))

        await books.schedules.prune(50.0)

        assert [run.instant for run in await books.schedules.runs("nightly", 10)] == [now - 10.0]
