"""Every store of jobs keeps what was accepted, lends each job to one worker, and ends it once."""

from __future__ import annotations

import msgspec
import pytest

from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from gateway.storage.jobs.base import JobsQuery, JobStore, LineFull, NewJob, StoredJob
from gateway.storage.jobs.states import ENDED, STATES, JobState, comes_from, may_become
from gateway.storage.outbox import Message
from tests.gateway.storage.books import OpenBooks, open_books
from tests.gateway.storage.sqlite.ledger_rows import NOON, open_row, settled_row

__all__ = ["open_books"]

LEASE_S = 20.0


def job(id: str = "job_1", **changed: object) -> NewJob:
    fields: dict[str, object] = {
        "id": id,
        "model": "chat",
        "task": "chat",
        "key_id": "key_alice",
        "user": "alice",
        "rank": 1,
        "created_at": NOON,
        "deadline": 4e9,
        "keep_s": 3600.0,
        "request": '{"body":"{}"}',
    }
    return NewJob(**{**fields, **changed})  # type: ignore[arg-type]


def row(id: str = "job_1") -> LedgerRow:
    return open_row(id=id)


async def accept(jobs: JobStore, *ids: str, **changed: object) -> None:
    for id in ids:
        await jobs.accept(job(id, **changed), row(id))


async def take(jobs: JobStore, worker: str = "one", most: int = 10) -> list[StoredJob]:
    return await jobs.take(worker, "chat", most, LEASE_S)


async def test_what_is_accepted_is_there_with_its_open_row(open_books: OpenBooks) -> None:
    async with open_books() as books:
        known = await books.jobs.accept(job(), row())

        found = await books.jobs.get("job_1")

        assert known.id == "job_1"
        assert found is not None
        assert (found.state, found.request, found.row) == ("queued", '{"body":"{}"}', row())
        assert [one.id for one in await books.ledger.rows("job_1")] == ["job_1"]


async def test_a_glance_leaves_out_what_may_be_large(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await books.jobs.accept(job(), row())
        [taken] = await take(books.jobs)
        await books.jobs.answer("job_1", taken.epoch, '{"body":"1"}')

        whole, seen = await books.jobs.get("job_1"), await books.jobs.glance("job_1")

        assert whole is not None
        assert seen == msgspec.structs.replace(whole, request="", answer="", row=None)
        assert await books.jobs.glance("job_2") is None


async def test_a_name_that_no_database_takes_is_the_name_of_nothing(open_books: OpenBooks) -> None:
    async with open_books() as books:
        assert await books.jobs.get("job\0") is None
        assert await books.jobs.find(JobsQuery(before="\0", model="\0")) == []
        assert await books.jobs.named("key:\0") is None


async def test_a_gateway_that_dies_leaves_no_job_to_be_settled_by_another(
    open_books: OpenBooks,
) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1")
        await books.ledger.open(row())  # as before a paid backend is asked
    async with open_books() as books:
        assert await books.ledger.take_abandoned() == []
        assert (await books.jobs.holding()).keys() == {"job_1"}


async def test_a_name_that_is_known_gives_the_job_that_has_it(open_books: OpenBooks) -> None:
    async with open_books() as books:
        named = {"idempotency": "alice:k", "digest": "d"}
        await books.jobs.accept(job("job_1", **named), row("job_1"))

        known = await books.jobs.accept(job("job_2", **named), row("job_2"))

        assert (known.id, known.digest) == ("job_1", "d")
        assert await books.jobs.get("job_2") is None
        assert await books.ledger.rows("job_2") == []


async def test_a_line_that_is_full_takes_no_other_job_of_its_user(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1", "job_2", key_id="key_one", most_waiting=2)
        await accept(books.jobs, "job_3", user="bob", most_waiting=2)

        with pytest.raises(LineFull):
            await accept(books.jobs, "job_4", key_id="key_two", most_waiting=2)

        assert await books.jobs.get("job_4") is None
        assert await books.ledger.rows("job_4") == []


async def test_a_job_that_has_begun_waits_no_more(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1", most_waiting=1)
        [taken] = await take(books.jobs)
        await books.jobs.move("job_1", taken.epoch, "running")

        await accept(books.jobs, "job_2", most_waiting=1)

        assert await books.jobs.get("job_2") is not None


async def test_a_full_line_still_knows_the_job_that_has_the_name(open_books: OpenBooks) -> None:
    async with open_books() as books:
        named = {"idempotency": "alice:k", "digest": "d", "most_waiting": 1}
        await accept(books.jobs, "job_1", **named)

        known = await books.jobs.accept(job("job_2", **named), row("job_2"))

        assert known.id == "job_1"


async def test_one_worker_alone_has_a_lease(open_books: OpenBooks, clock: FakeClock) -> None:
    async with open_books() as books, open_books() as others:
        await accept(books.jobs, "job_1", "job_2")

        mine = await take(books.jobs, "one", 1)
        theirs = await take(others.jobs, "two")

        assert [one.id for one in mine] == ["job_1"]
        assert [one.id for one in theirs] == ["job_2"]
        assert await books.jobs.renew("one", ["job_1", "job_2"], LEASE_S) == {"job_1": False}


async def test_what_a_worker_left_is_taken_over_and_it_may_change_nothing(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1")
        [mine] = await take(books.jobs, "one")
        await books.jobs.move("job_1", mine.epoch, "starting", attempt='{"backend":"burst"}')
        assert await books.jobs.take_over("two", 10, LEASE_S) == []
        await clock.advance(LEASE_S + 1)

        [theirs] = await books.jobs.take_over("two", 10, LEASE_S)

        assert (theirs.id, theirs.attempt) == ("job_1", '{"backend":"burst"}')
        assert not await books.jobs.move("job_1", mine.epoch, "running")
        assert not await books.jobs.answer("job_1", mine.epoch, "{}")
        assert not await books.jobs.put_back("job_1", mine.epoch, 0.0)
        assert await books.jobs.move("job_1", theirs.epoch, "running")


async def test_keys_take_turns_and_a_higher_rank_goes_first(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_a1", "job_a2", "job_a3")
        await accept(books.jobs, "job_b1", key_id="key_bob", user="bob")
        await accept(books.jobs, "job_c1", rank=2)

        order = [job.id for _ in range(5) for job in await take(books.jobs, most=1)]

        assert order == ["job_c1", "job_b1", "job_a1", "job_a2", "job_a3"]
        assert await take(books.jobs) == []


async def test_a_key_that_is_full_waits_alone(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1")
        await accept(books.jobs, "job_2", key_id="key_bob", user="bob")

        taken = await books.jobs.take("one", "chat", 10, LEASE_S, {"key_alice"})

        assert [one.id for one in taken] == ["job_2"]
        assert await books.jobs.queued() == {"chat": 1}


async def test_those_that_wait_are_counted_by_model_and_deadline(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    """Those of about the same time together, and none that nobody may begin."""
    async with open_books() as books:
        jobs, now = books.jobs, clock.time()
        await accept(jobs, "job_1", "job_2", deadline=now + 100.0)
        await accept(jobs, "job_3", deadline=now + 90.0)
        await accept(jobs, "job_4", deadline=now + 86_400.0)
        await accept(jobs, "job_5", deadline=now + 100.0, model="infer")
        await accept(jobs, "job_6", deadline=now + 100.0, key_id="key_bob")
        await accept(jobs, "job_7", deadline=now - 1.0)
        await accept(jobs, "job_8", deadline=now + 100.0, rank=2)
        taken = await take(jobs, most=1)
        assert [one.id for one in taken] == ["job_8"]
        await accept(jobs, "job_9", deadline=now + 100.0)
        await jobs.cancel("job_9")

        found = await jobs.waiting({"key_bob"})

        assert [(one.model, one.jobs, one.deadline, one.last) for one in found] == [
            ("chat", 3, now + 90.0, now + 100.0),
            ("infer", 1, now + 100.0, now + 100.0),
            ("chat", 1, now + 86_400.0, now + 86_400.0),
        ]
        assert sum(one.jobs for one in await jobs.waiting()) == 6


async def test_what_is_put_back_waits_for_its_pause(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1")
        [taken] = await take(books.jobs)
        await books.jobs.put_back("job_1", taken.epoch, 5.0)
        assert await take(books.jobs) == []
        await clock.advance(6.0)
        assert [one.id for one in await take(books.jobs)] == ["job_1"]


async def test_a_step_that_comes_after_the_job_was_put_back_is_not_taken(
    open_books: OpenBooks,
) -> None:
    """It was on its way when its gateway left the job: nobody would run it."""
    async with open_books() as books:
        await accept(books.jobs, "job_1")
        [taken] = await take(books.jobs)
        await books.jobs.put_back("job_1", taken.epoch, 0.0)
        assert await books.jobs.move("job_1", taken.epoch, "running", attempt="{}") is None
        [again] = await take(books.jobs)
        assert (again.id, again.state, again.attempt) == ("job_1", "queued", "")


async def test_a_job_ends_once_at_what_its_call_has_cost(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1")
        [taken] = await take(books.jobs)
        message = Message(id="job_1.end", endpoint="jobs", topic="job.succeeded", body="{}")
        end = books.jobs.end
        assert not await end("job_1", taken.epoch, "succeeded", ended_at=NOON, message=message)
        await books.ledger.settle(
            [settled_row(id="job_1", cost_nano=5), settled_row(id="job_1#1", cost_nano=7)]
        )

        first = await end("job_1", taken.epoch, "succeeded", ended_at=NOON + 9, message=message)
        second = await end("job_1", taken.epoch, "failed", ended_at=NOON + 10)

        found = await books.jobs.get("job_1")
        assert (first, second) == (True, False)
        assert found is not None
        assert (found.state, found.cost_nano, found.ended_at) == ("succeeded", 12, NOON + 9)
        sent = await books.outbox.take("jobs", 10, 60.0)
        assert [one.id for one in sent] == ["job_1.end"]


async def test_what_is_canceled_or_late_is_taken_over_at_once(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1", "job_2")
        await accept(books.jobs, "job_3", deadline=clock.time() - 1)
        assert await books.jobs.cancel("job_1")

        taken = await books.jobs.take_over("one", 10, LEASE_S)

        assert [(one.id, one.canceling) for one in taken] == [("job_1", True), ("job_3", False)]


async def test_a_list_is_paged_by_the_last_job_of_the_page_before(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await accept(books.jobs, *(f"job_{number}" for number in range(5)))
        await accept(books.jobs, "job_bob", user="bob")

        first = await books.jobs.find(JobsQuery(user="alice", most=3))
        second = await books.jobs.find(JobsQuery(user="alice", most=3, before=first[-1].id))

        assert [one.id for one in first] == ["job_4", "job_3", "job_2"]
        assert [one.id for one in second] == ["job_1", "job_0"]
        assert await books.jobs.find(JobsQuery(states=("running", "failed"))) == []
        assert await books.jobs.ahead("job_3") == 3


async def test_what_happened_is_told_in_its_order(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1")
        [taken] = await take(books.jobs)
        await books.jobs.move("job_1", taken.epoch, "starting")
        await books.jobs.move("job_1", taken.epoch, "starting", attempt="{}")
        await books.jobs.note("job_1", "log", '"loading"')

        told = await books.jobs.events("job_1", 0)
        later = await books.jobs.events("job_1", told[1].number)

        assert [(one.kind, one.data) for one in told] == [
            ("state", '{"state":"queued"}'),
            ("state", '{"state":"starting"}'),
            ("log", '"loading"'),
        ]
        assert later == told[2:]


async def test_an_end_whose_answer_was_lost_is_told_once(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1")
        [taken] = await take(books.jobs)
        await books.ledger.settle([settled_row(id="job_1")])
        said = [
            await books.jobs.end("job_1", taken.epoch, "failed", ended_at=clock.time())
            for _ in range(3)
        ]

        told = await books.jobs.events("job_1", 0)

        assert said == [True, False, False]
        assert [one.data for one in told] == ['{"state":"queued"}', '{"state":"failed"}']


async def test_a_result_goes_when_its_time_is_over_and_the_job_after_it(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_1")
        [taken] = await take(books.jobs)
        await books.jobs.answer("job_1", taken.epoch, '{"ok":true}')
        await books.ledger.settle([settled_row(id="job_1")])
        await books.jobs.end("job_1", taken.epoch, "succeeded", ended_at=clock.time())
        await clock.advance(3601)

        assert await books.jobs.prune(86_400, 100) == 1
        found = await books.jobs.get("job_1")
        assert found is not None
        assert found.answer == ""
        await clock.advance(86_400)
        assert await books.jobs.prune(86_400, 100) == 1
        assert await books.jobs.get("job_1") is None
        assert await books.jobs.events("job_1", 0) == []


@pytest.mark.parametrize("state", sorted(ENDED))
def test_nothing_follows_an_end(state: JobState) -> None:
    assert not any(may_become(state, other) for other in STATES)
    assert comes_from(state) == ("queued", "starting", "running")
