"""That a key ends is told some days before, each time once, whoever finds out, and when."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.settings import Secret
from gateway.clock import FakeClock
from gateway.events.key_endings import KeyEndings, due
from gateway.policy.model import Policy
from gateway.policy.sections.keys import KeySettings
from gateway.policy.sections.webhooks import WebhookEndpoint, WebhookSettings
from gateway.storage.base import StorageUnavailable
from gateway.storage.key_records import KeyRecord
from gateway.storage.outbox import Outbox
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.types import Principal
from tests.gateway.events.receivers import SECRET
from tests.gateway.storage.books import OpenBooks

DAY = 86_400.0
ALICE = Principal(key_id="key_1", user="alice", plan="gold", tags={"team": "nlp"})
OPS, MONEY = (
    WebhookEndpoint(url="https://ops.example.com/", secret=Secret(SECRET), events=(topic,))
    for topic in ("keys", "budget")
)
POLICY = Policy(version="v", webhooks=WebhookSettings(endpoints={"ops": OPS, "money": MONEY}))


class Watched:
    """Keys, and a watch over them."""

    def __init__(
        self, folder: Path, outbox: Outbox, clock: FakeClock, policy: Policy = POLICY
    ) -> None:
        self.keys = SqliteKeys(folder / "keys.db", clock=clock)
        self.outbox = outbox
        self.watch = KeyEndings(keys=self.keys, outbox=outbox, policy=lambda: policy, clock=clock)

    async def told(self) -> list[dict[str, Any]]:
        """What a look brings."""
        await self.watch.look()
        found = [json.loads(one.body) for one in await self.outbox.take("ops", 9, 1e9)]
        assert {one["type"] for one in found} <= {"key.ending"}
        assert await self.outbox.take("money", 9, 1e9) == []
        return [one["data"] for one in found]


@contextlib.asynccontextmanager
async def watching(
    open_books: OpenBooks, folder: Path, clock: FakeClock, policy: Policy = POLICY
) -> AsyncIterator[Watched]:
    async with open_books() as (_, outbox, *_):
        one = Watched(folder, outbox, clock, policy)
        with contextlib.closing(one.keys):
            yield one


async def test_each_notice_is_told_once(
    open_books: OpenBooks,
    tmp_path: Path,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A second gateway, or a start that comes after, tells it no more."""
    async with watching(open_books, tmp_path, clock) as watched:
        caplog.set_level(logging.WARNING)
        ends = clock.time() + 20 * DAY
        watched.keys.create(ALICE, "sg-1", expires_at=ends)
        seen = []
        for _ in range(42):
            clock.move(DAY / 2)
            seen += await watched.told()
            other = Watched(tmp_path, watched.outbox, clock)
            assert await other.told() == []
            other.keys.close()
        assert [(one["notice_s"], one["key"], one["user"]) for one in seen] == [
            (14 * 86_400, "key_1", "alice"),
            (2 * 86_400, "key_1", "alice"),
        ]
        assert seen[0]["tags"] == {"team": "nlp"}
        assert seen[0]["expires_at"].startswith("2026-01-21T")
        said = [one.getMessage() for one in caplog.records]
        assert [text.partition(",")[0] for text in said] == [
            "the key key_1 of alice ends in 14.0 days",
            "the key key_1 of alice ends in 2.0 days",
        ]


async def test_a_gateway_that_was_away_tells_the_last_notice_that_has_come(
    open_books: OpenBooks,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    async with watching(open_books, tmp_path, clock) as watched:
        watched.keys.create(ALICE, "sg-1", expires_at=clock.time() + 20 * DAY)
        clock.move(19 * DAY)
        assert [one["notice_s"] for one in await watched.told()] == [2 * 86_400]


async def test_a_key_that_was_revoked_or_is_over_is_told_no_more(
    open_books: OpenBooks,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    async with watching(open_books, tmp_path, clock) as watched:
        watched.keys.create(ALICE, "sg-1", expires_at=clock.time() + 20 * DAY)
        watched.keys.revoke("key_1")
        clock.move(7 * DAY)
        assert await watched.told() == []
        watched.keys.create(
            Principal(key_id="key_2", user="bob"), "sg-2", expires_at=clock.time() + 20 * DAY
        )
        clock.move(20 * DAY)
        assert await watched.told() == []


async def test_nothing_is_told_where_the_policy_wants_no_notice(
    open_books: OpenBooks, tmp_path: Path, clock: FakeClock
) -> None:
    silent = Policy(version="v", keys=KeySettings(notice=()), webhooks=POLICY.webhooks)
    async with open_books() as (_, outbox, *_):
        one = Watched(tmp_path, outbox, clock, silent)
        one.keys.create(ALICE, "sg-1", expires_at=clock.time() + 3 * DAY)
        clock.move(2 * DAY)
        assert await one.told() == []
        one.keys.close()


async def test_a_store_that_is_away_is_asked_again(
    open_books: OpenBooks,
    tmp_path: Path,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watching(open_books, tmp_path, clock) as watched:

        class Gone(SqliteKeys):
            def ending(self, until: float) -> list[KeyRecord]:
                raise StorageUnavailable("keys.db: locked")

        watched.keys.create(ALICE, "sg-1", expires_at=clock.time() + 20 * DAY)
        clock.move(7 * DAY)
        keys = watched.watch._keys
        watched.watch._keys = gone = Gone(watched.keys._file.path, clock=clock)
        assert await watched.told() == await watched.told() == []
        gone.close()
        assert [one.getMessage() for one in caplog.records] == [
            "keys.db: locked; keys that end are told when it is back"
        ]
        watched.watch._keys = keys
        assert len(await watched.told()) == 1


@given(
    st.floats(0, 30),
    st.floats(0.001, 60),
    st.floats(0, 90),
    st.sets(st.integers(1, 30), max_size=4),
)
def test_a_notice_is_of_a_key_that_was_there_before_it_and_has_not_ended(
    made: float, lasts: float, passed: float, notices: set[int]
) -> None:
    record = KeyRecord(principal=ALICE, created_at=made * DAY, expires_at=(made + lasts) * DAY)
    now_at = (made + passed) * DAY
    fact = due(record, [one * DAY for one in notices], now_at)
    if fact is not None:
        notice_s = float(fact.step)
        assert record.expires_at is not None
        assert record.created_at < record.expires_at - notice_s <= now_at < record.expires_at
