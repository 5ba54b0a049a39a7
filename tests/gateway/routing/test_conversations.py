"""What a backend has kept of a conversation, and what it costs to have it read elsewhere."""

from __future__ import annotations

import pytest

from gateway.routing.conversations import (
    KEPT_S,
    Conversations,
    KeptPrefix,
    PromptReading,
    ReadingPrice,
    lost_at,
)


def test_a_conversation_is_kept_for_a_while_and_forgotten_when_others_need_the_room() -> None:
    known = Conversations(most=2)
    known.note("a", 100, now=0.0)
    known.note("b", 200, now=1.0)
    assert (known.tokens("a", KEPT_S), known.tokens("a", KEPT_S + 1)) == (100, 0)
    known.note("a", 150, now=2.0)
    known.note("c", 300, now=3.0)
    assert [known.tokens(name, 4.0) for name in "abc"] == [150, 0, 300]
    assert len(known) == 2


def test_nothing_counts_as_kept_until_an_engine_has_said_so() -> None:
    reading = PromptReading()
    assert reading.share == 0.0
    reading.observe_kept(0, 500)
    assert reading.share == 0.0
    reading.observe_kept(1000, 800)
    assert reading.share == pytest.approx(0.8)
    for _ in range(50):
        reading.observe_kept(1000, 0)
    assert reading.share < 0.01


def test_the_seconds_of_reading_are_told_from_those_of_writing() -> None:
    reading = PromptReading()
    for number in range(40):
        fresh, written = 1000 + 700 * (number % 7), 50 + 90 * (number % 5)
        reading.observe_run(fresh, written, fresh * 0.0004 + written * 0.02)
    assert reading.seconds_per_token == pytest.approx(0.0004, rel=1e-6)


def test_calls_that_are_all_alike_teach_no_speed() -> None:
    reading = PromptReading()
    for _ in range(40):
        reading.observe_run(1000, 100, 3.0)
    assert reading.seconds_per_token == 0.0


def test_what_is_lost_is_seconds_and_money_by_the_backends_own_price() -> None:
    price = ReadingPrice(saved_per_million=900_000_000, per_second=0)
    here, there = KeptPrefix(60_000, 0.0004), KeptPrefix(10_000, 0.001)
    lost, saved = lost_at(there, here, price)
    assert (lost.kept, lost.tokens) == (10_000, 50_000)
    assert lost.seconds == pytest.approx(50.0)
    assert (lost.nano, saved) == (45_000_000, 9_000_000)
    none, whole = lost_at(here, here, price)
    assert (none.tokens, none.seconds, none.nano, whole) == (0, 0.0, 0, 54_000_000)
    bought, time = lost_at(there, here, ReadingPrice(0, 1_000_000))
    assert (bought.nano, time) == (50_000_000, -50_000_000)
