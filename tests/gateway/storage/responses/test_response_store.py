"""Every store of kept responses gives each to its owner, for its time, within the owner's bytes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from gateway.clock import FakeClock
from gateway.storage.responses.base import KeptResponse, ResponseStore
from gateway.storage.responses.sql_responses import SqlResponses
from tests.gateway.storage.books import MakeStatements, make_statements

__all__ = ["make_statements"]

MOST = 10_000


def one(id: str, owner: str = "key_a", answer: str = '{"id": "r"}') -> KeptResponse:
    return KeptResponse(id=id, owner=owner, answer=answer, items='["\\u0000"]')


@contextlib.asynccontextmanager
async def opened(make: MakeStatements) -> AsyncIterator[ResponseStore]:
    store = SqlResponses(make())
    try:
        yield store
    finally:
        await store.aclose()


async def test_each_is_its_owners_for_its_time(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as store:
        await store.keep(one("r1"), 60.0, MOST)
        await store.keep(one("r1", answer="{}"), 60.0, MOST)  # nobody knew of the first
        assert await store.find("key_a", "r1") == one("r1")
        assert await store.find("key_b", "r1") is None
        assert not await store.delete("key_b", "r1")
        clock.move(60.0)
        assert await store.find("key_a", "r1") is None
        assert not await store.delete("key_a", "r1")
        assert (await store.prune(10), await store.prune(10)) == (1, 0)


async def test_it_is_known_whose_it_was_for_as_long_as_it_would_be_kept(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as store:

        async def is_not_for() -> tuple[bool, bool]:
            return await store.is_not_for("key_a", "r1"), await store.is_not_for("key_b", "r1")

        assert await is_not_for() == (False, False)
        for _ in range(2):
            await store.keep(one("r1"), 60.0, MOST)
        assert await is_not_for() == (False, True)
        assert not await store.delete("key_b", "r1")
        assert await is_not_for() == (False, True)
        assert await store.delete("key_a", "r1")
        assert await is_not_for() == (True, True)
        clock.move(60.0)
        assert await is_not_for() == (False, False)
        assert (await store.prune(10), await store.prune(10)) == (1, 0)


async def test_past_the_owners_bytes_the_oldest_go(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    """A short one counts for 4 KiB."""
    async with opened(make_statements) as store:
        await store.keep(one("r0", owner="key_b"), 60.0, MOST)
        for name in ("r1", "r2", "r3"):
            await store.keep(one(name), 60.0, MOST)
            clock.move(1.0)
        found = [await store.find("key_a", name) for name in ("r1", "r2", "r3")]
        assert found == [None, one("r2"), one("r3")]
        assert await store.find("key_b", "r0") is not None
        assert await store.delete("key_a", "r3")
        assert await store.find("key_a", "r3") is None
