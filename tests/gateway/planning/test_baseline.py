"""Reserved workers: as many as pay, for as long as they are committed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.planning.baseline import Baseline, BaselineRule
from gateway.planning.outlook import Outlook
from gateway.planning.shares import WantedSlots, share_of

RULE = BaselineRule(share=0.6, window_s=3600, every_s=300, commit_s=3600, give_up=0.85)
wanted = st.lists(st.integers(0, 6), min_size=1, max_size=400)


def test_what_is_always_wanted_is_reserved_and_a_rare_peak_is_not() -> None:
    baseline = Baseline(RULE, 0.0)
    for minute in range(121):
        baseline.look(60.0 * minute, 9 if minute % 10 == 0 else 3)
    assert baseline.workers == 3


def test_a_worker_stays_for_as_long_as_it_is_committed() -> None:
    baseline = Baseline(RULE, 0.0)
    counts = [baseline.look(60.0 * minute, 4 if minute <= 20 else 0) for minute in range(200)]
    first = counts.index(4)
    assert all(count == 4 for count in counts[first : first + 60])
    assert counts[-1] == 0


def test_a_worker_that_nearly_pays_is_not_given_up() -> None:
    """At 55 % of the time it would not be reserved anew, and is not yet let go."""
    baseline = Baseline(RULE, 0.0)
    for minute in range(60):
        baseline.look(60.0 * minute, 2)
    for minute in range(60, 600):
        baseline.look(60.0 * minute, 2 if minute % 20 < 11 else 0)
    assert baseline.workers == 2


@given(wanted)
def test_a_share_is_the_time_for_which_so_many_were_wanted(wanted: list[int]) -> None:
    """Recounted from the list of looks, one a minute."""
    slots = WantedSlots(300.0, 4, 0.0)
    for minute, count in enumerate(wanted, 1):
        slots.want(count)
        slots.until(60.0 * minute)
        if minute % 5 == 0:
            slots.close()
    whole = wanted[: len(wanted) // 5 * 5]
    kept = whole[-4 * 5 :]
    for shares, looks in ((slots.last(2), kept[-2 * 5 :]), (slots.first(1), kept[:5])):
        for layer in range(1, 8):
            told = sum(count >= layer for count in looks) / len(looks) if looks else 0.0
            assert share_of(shares, layer) == pytest.approx(told)


def test_nothing_learned_means_that_it_goes_on_as_it_was() -> None:
    found = Outlook(12).expect([0.0, 1.0, 0.5], [0.0, 1.0, 1.0, 0.5], None)
    assert found == [0.0, 1.0, 0.75, 0.25]


def test_bursts_that_always_end_are_not_expected_to_go_on() -> None:
    outlook, expected = Outlook(2), [0.0]
    for _ in range(200):
        expected = outlook.expect([0.0, 0.5], [0.0, 1.0], None)
        outlook.expect([0.0, 0.5], [0.0, 0.0], None)
        outlook.expect([0.0, 0.0], [0.0, 0.0], None)
        outlook.expect([0.0, 0.0], [0.0, 0.0], None)
    assert expected[1] < 0.2


def test_what_came_yesterday_at_this_time_is_expected_again() -> None:
    rule = BaselineRule(share=0.6, window_s=3600, every_s=300, commit_s=3600)
    baseline = Baseline(rule, 0.0)
    ahead: list[int] = []
    for minute in range(9 * 24 * 60):
        hour = minute // 60 % 24
        wanted = 5 if 9 <= hour < 12 else 0
        workers = baseline.look(60.0 * minute, wanted)
        if minute % (24 * 60) == 9 * 60 + 5:
            ahead.append(workers)
    assert ahead[0] == 0
    assert ahead[-1] == 5


shares = st.lists(st.floats(0, 1), min_size=1, max_size=9).map(
    lambda found: [0.0, *sorted(found, reverse=True)]
)


@given(st.lists(st.tuples(shares, shares, st.none() | shares), min_size=1, max_size=60))
def test_what_is_expected_is_a_share(
    seen: list[tuple[list[float], list[float], list[float] | None]],
) -> None:
    outlook = Outlook(3)
    for window, recent, yesterday in seen:
        found = outlook.expect(window, recent, yesterday)
        assert len(found) == max(len(window), len(recent), len(yesterday or ()))
        assert all(0.0 <= share <= 1.0 + 1e-9 for share in found)
        assert found[0] == 0.0
