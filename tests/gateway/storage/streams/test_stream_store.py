"""Every store of kept streams gives a name away once, and adds to a stream on its lease alone."""

from __future__ import annotations

import pytest

from gateway.clock import FakeClock
from gateway.storage.streams.base import KeptPart, NewStream, StreamsFull
from tests.gateway.storage.books import OpenBooks, open_books
from tests.gateway.storage.test_jobs import job, row

__all__ = ["open_books"]

LEASE_S = 20.0


def stream(id: str = "req_1", name: str = "key:a", **changed: object) -> NewStream:
    fields: dict[str, object] = {
        "id": id,
        "name": name,
        "digest": "d",
        "user": "alice",
        "keep_s": 3600.0,
        "lease_s": LEASE_S,
        "most_bytes": 100,
    }
    return NewStream(**{**fields, **changed})  # type: ignore[arg-type]


async def test_a_name_is_given_away_once(open_books: OpenBooks) -> None:
    async with open_books() as books:
        first = await books.streams.claim(stream("req_1"))
        again = await books.streams.claim(stream("req_2", digest="other"))

        assert (first.id, again.id, again.digest) == ("req_1", "req_1", "d")
        assert await books.streams.read("req_2", 0) is None


async def test_a_job_and_a_stream_never_have_one_name(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await books.jobs.accept(job("job_1", idempotency="key:a", digest="j"), row("job_1"))
        taken = await books.streams.claim(stream("req_1", "key:a"))
        await books.streams.claim(stream("req_2", "key:b"))
        named = await books.jobs.named("key:b")

        assert (taken.id, taken.is_stream) == ("job_1", False)
        assert named is not None
        assert named.id == "req_2"


async def test_what_was_added_is_read_from_any_piece_on(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await books.streams.claim(stream())
        await books.streams.keep("req_1", 0, b"one\x00", "{}", LEASE_S)
        await books.streams.keep("req_1", 0, b"one\x00", "{}", LEASE_S)  # nobody knew of the first
        await books.streams.end("req_1", 4, b"two", "{}", "ended")

        assert await books.streams.read("req_1", 0) == KeptPart("ended", "{}", b"one\x00two")
        assert await books.streams.read("req_1", 4) == KeptPart("ended", "{}", b"two")


async def test_a_stream_whose_lease_is_over_is_cut_for_ever(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as books:
        await books.streams.claim(stream())
        await books.streams.keep("req_1", 0, b"one", "{}", LEASE_S)
        await clock.advance(LEASE_S + 1)

        assert not await books.streams.end("req_1", 3, b"two", "{}", "ended")
        assert await books.streams.read("req_1", 0) == KeptPart("cut", "{}", b"one")


async def test_a_user_keeps_no_more_than_may_be_kept(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as books:
        await books.streams.claim(stream())
        await books.streams.end("req_1", 0, b"x" * 100, "{}", "ended")

        with pytest.raises(StreamsFull):
            await books.streams.claim(stream("req_2", "key:b"))
        assert (await books.streams.claim(stream("req_3", "key:c", user="bob"))).id == "req_3"
        assert (await books.streams.claim(stream("req_4", "key:a"))).id == "req_1"

        await clock.advance(3601)
        assert await books.streams.prune(10) == 2
        assert (await books.streams.claim(stream("req_2", "key:b"))).id == "req_2"


async def test_of_a_stream_that_was_too_long_nothing_stays(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await books.streams.claim(stream())
        await books.streams.keep("req_1", 0, b"x" * 100, "{}", LEASE_S)
        await books.streams.end("req_1", 100, b"y", "{}", "large")

        assert await books.streams.read("req_1", 0) == KeptPart("large", "{}", b"")
        assert (await books.streams.claim(stream("req_2", "key:b"))).id == "req_2"


async def test_a_name_that_was_given_back_is_free(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await books.streams.claim(stream())
        await books.streams.forget("req_1")

        assert (await books.streams.claim(stream("req_2"))).id == "req_2"
        assert not await books.streams.keep("req_1", 0, b"x", "", LEASE_S)
