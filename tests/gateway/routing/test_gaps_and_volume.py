"""Gaps between calls teach a time-out; hours of calls answer the volume rules."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing.gaps import GapHistory
from gateway.routing.volume import CallVolume


def test_until_gaps_are_known_the_timeout_is_what_a_cold_start_is_worth() -> None:
    """Ski rental: at most twice the best."""
    gaps = GapHistory()
    for _ in range(4):
        gaps.observe(1.0)
    assert gaps.timeout(60.0) == 60.0


def test_short_gaps_keep_it_warm_just_long_enough() -> None:
    """Gaps of twenty seconds: a quarter of sixty is too short, half is enough."""
    gaps = GapHistory()
    for _ in range(50):
        gaps.observe(20.0)
    assert gaps.timeout(60.0) == 30.0


def test_gaps_that_are_always_long_are_not_worth_any_idling() -> None:
    """An hour between calls: every idle second would be wasted."""
    gaps = GapHistory()
    for _ in range(50):
        gaps.observe(3600.0)
    assert gaps.timeout(60.0) == 0.0


def test_the_history_is_bounded_and_forgets() -> None:
    """A backend that became busy is kept warm, whatever it was long ago."""
    gaps = GapHistory()
    for _ in range(5000):
        gaps.observe(3600.0)
    for _ in range(400):
        gaps.observe(10.0)
    assert gaps.timeout(60.0) == 15.0


def test_calls_of_the_last_day_count_and_older_ones_fade() -> None:
    """The oldest hour counts for the part of it that lies within 24 hours."""
    volume = CallVolume()
    noon = 1_767_268_800.0
    for _ in range(10):
        volume.add("m", noon)
    assert volume.per_day("m", noon) == 10
    assert volume.per_day("m", noon + 24 * 3600 + 1800) == pytest.approx(5.0)
    assert volume.per_day("m", noon + 25 * 3600) == 0
    assert volume.per_day("other", noon) == 0


def test_counts_of_the_ledger_are_added() -> None:
    """A restart forgets no call of the day."""
    volume = CallVolume()
    volume.restore({("m", 490_000): 7})
    assert volume.per_day("m", 490_000 * 3600.0) == 7


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["call", "tell"]), st.integers(0, 30)),
        max_size=40,
    )
)
def test_several_that_tell_each_other_count_the_calls_of_all(
    steps: list[tuple[int, str, int]],
) -> None:
    volumes = [CallVolume() for _ in range(3)]
    for volume in volumes:
        volume.restore({("m", 490_000): 7})
    called = []

    def tell(at: int) -> None:
        new = volumes[at].take_new()
        for other in volumes:
            if other is not volumes[at]:
                other.add_others(new)

    for at, step, hour in sorted(steps, key=lambda one: one[2]):
        if step == "call":
            volumes[at].add("m", (490_000 + hour) * 3600.0)
            called.append(hour)
        else:
            tell(at)
    for at in range(3):
        tell(at)
    recent = sum(hour > 6 for hour in called)
    assert [one.per_day("m", (490_030 + 1) * 3600.0 - 1) for one in volumes] == pytest.approx(
        [recent + sum(hour == 6 for hour in called) / 3600] * 3
    )


def test_what_others_count_before_the_past_is_known_is_in_that_past() -> None:
    volume = CallVolume()
    volume.add_others({("m", 490_000): 3})
    assert volume.take_new() == {}
    volume.restore({("m", 490_000): 3})
    assert volume.per_day("m", 490_000 * 3600.0) == 3
    assert volume.take_new() == {}
