"""Reserved workers: as many as pay, for as long as they are committed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.planning.baseline import Baseline, BaselineRule

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


@given(wanted=wanted)
def test_a_layer_is_reserved_where_it_was_wanted_for_its_share_of_the_window(
    wanted: list[int],
) -> None:
    """Recounted from the list of looks, for a baseline that commits to nothing."""
    rule = BaselineRule(share=0.6, window_s=1200, every_s=300, commit_s=0.0, give_up=1.0)
    baseline = Baseline(rule, 0.0)
    for minute, count in enumerate(wanted):
        now = 60 * minute
        workers = baseline.look(float(now), count)
        if not now or now % 300:
            continue
        spans = [
            (wanted[at], min(60, 60 * at + 60 - (now - 1200)))
            for at in range(minute)
            if 60 * at + 60 > now - 1200
        ]
        covered = sum(seconds for _, seconds in spans)
        layers = [
            layer
            for layer in range(1, 7)
            if sum(seconds for count, seconds in spans if count >= layer) > 0.6 * covered
        ]
        assert workers == max(layers, default=0)


def test_what_has_left_the_window_counts_no_more_though_nothing_has_changed_since() -> None:
    """A minute at the window's very beginning, and then exactly its share: not more than that."""
    rule = BaselineRule(share=0.6, window_s=1200, every_s=300, commit_s=0.0, give_up=1.0)
    baseline = Baseline(rule, 0.0)
    for minute, count in enumerate([0, 0, 0, 0, 1, *[0] * 8, *[1] * 13]):
        baseline.look(60.0 * minute, count)
    assert baseline.workers == 0
