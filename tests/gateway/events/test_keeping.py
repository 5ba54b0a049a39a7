"""What waits for long is said, and dropped in the end; who takes nothing for days is left alone."""

from __future__ import annotations

import logging

import pytest

from gateway.clock import FakeClock
from gateway.events.keeping import OutboxKeeper
from gateway.metrics import Metrics
from gateway.policy.sections.webhooks import WebhookSettings
from tests.gateway.events.senders import USAGE, PlayedClient, sender_of, sent_all
from tests.gateway.storage.books import Books, OpenBooks
from tests.gateway.storage.sqlite.ledger_rows import settled_row

DAY_S = 86_400.0
SETTINGS = WebhookSettings(endpoints={"billing": USAGE})


class Kept:
    """An outbox with one row that its endpoint does not take, and who looks after it."""

    def __init__(self, books: Books, clock: FakeClock) -> None:
        self.metrics = Metrics()
        self.client = PlayedClient([500] * 100)
        self._books = books
        self.sender = sender_of(books.outbox, self.client, clock)
        self.keeper = OutboxKeeper(
            outbox=books.outbox, settings=lambda: SETTINGS, clock=clock, metrics=self.metrics
        )
        self.metrics.observe(self.keeper.readings)

    async def begin(self) -> None:
        await self.sender.subscribe()
        await self._books.ledger.settle([settled_row()])
        await sent_all(self.sender)

    def shown(self, name: str) -> float:
        lines = self.metrics.render().decode().splitlines()
        [line] = [one for one in lines if one.startswith(f'{name}{{endpoint="billing"}}')]
        return float(line.rpartition(" ")[2])


async def test_what_waits_is_shown_and_said_once_an_hour(
    open_books: OpenBooks, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with open_books() as books:
        kept = Kept(books, clock)
        await kept.begin()
        clock.move(2 * 3600.0)
        for _ in range(3):
            await kept.keeper.look()
        assert kept.shown("spillgate_outbox_messages") == 1
        assert kept.shown("spillgate_outbox_age_seconds") == 2 * 3600.0
        assert kept.shown("spillgate_webhook_disabled") == 0
        assert caplog.text.count("webhook billing: 1 messages wait, the oldest for 2.0 hours") == 1


async def test_an_endpoint_that_takes_nothing_for_days_is_disabled_and_said(
    open_books: OpenBooks, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_books() as books:
        kept = Kept(books, clock)
        await kept.begin()
        clock.move(3 * DAY_S)
        await kept.keeper.look()
        assert await books.outbox.due() == {"billing"}, "not longer than three days yet"
        clock.move(1.0)
        await kept.keeper.look()
        await kept.keeper.look()
        assert "webhook billing has taken nothing for 3.0 days: it is disabled" in caplog.text
        assert kept.shown("spillgate_webhook_disabled") == 1
        before = len(kept.client.sent)
        await sent_all(kept.sender)
        assert len(kept.client.sent) == before


async def test_what_nobody_took_for_a_week_is_dropped_counted_and_said(
    open_books: OpenBooks, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_books() as books:
        kept = Kept(books, clock)
        await kept.begin()
        clock.move(7 * DAY_S + 1)
        await kept.keeper.look()
        assert [state.waiting for state in await books.outbox.states()] == [0]
        assert kept.shown("spillgate_webhooks_dropped_total") == 1
        assert (
            "webhook billing: 1 messages have waited for longer than webhooks.keep" in caplog.text
        )


async def test_a_row_that_left_the_ledger_before_it_was_told_is_said(
    open_books: OpenBooks, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As whoever archives rows may do."""
    async with open_books() as books:
        kept = Kept(books, clock)
        await kept.sender.subscribe()
        await books.ledger.settle([settled_row("gone"), settled_row("here")])
        await books.outbox._connection.run(  # type: ignore[attr-defined]
            [("DELETE FROM entries WHERE id = ?", ("gone",))]
        )
        await sent_all(kept.sender)
        assert kept.client.ids == ["usage_here"]
        assert "webhook billing: 1 rows had left the ledger before they were told" in caplog.text
