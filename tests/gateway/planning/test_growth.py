"""What is learned of growth, against a plain list of the samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.planning.growth import Growth, GrowthTable, bucket_of

MANY = 10**9
"""A memory in which nothing fades."""


@given(
    growths=st.lists(st.integers(-5, 30), min_size=1, max_size=80),
    chance=st.floats(0, 1),
    load=st.integers(0, 7),
)
def test_what_is_needed_is_a_quantile_of_the_samples(
    growths: list[int], chance: float, load: int
) -> None:
    table = GrowthTable(memory=MANY, prior=0)
    for growth in growths:
        table.learn(load, growth)
    needed = table.needed(load, chance)
    assert sum(load + growth > needed for growth in growths) <= chance * len(growths) + 1e-6
    if needed:
        fewer = sum(load + growth > needed - 1 for growth in growths)
        assert fewer > chance * len(growths) - 1e-6


@given(
    load=st.integers(0, 3000),
    smaller=st.floats(0, 1),
    more=st.floats(0, 1),
    samples=st.lists(st.tuples(st.integers(0, 3000), st.integers(-80, 300)), max_size=40),
)
def test_who_takes_a_smaller_risk_needs_no_fewer_workers(
    load: int, smaller: float, more: float, samples: list[tuple[int, int]]
) -> None:
    table = GrowthTable()
    for at, growth in samples:
        table.learn(at, growth)
    assert table.needed(load, min(smaller, more)) >= table.needed(load, max(smaller, more)) >= 0


def test_before_anything_is_learned_each_call_needs_a_worker() -> None:
    assert GrowthTable().needed(7, 0.01) == 7


def test_a_load_that_was_never_seen_borrows_from_all_others() -> None:
    table = GrowthTable()
    for _ in range(100):
        table.learn(3, 2)
    assert table.needed(5, 0.5) == 7


def test_old_samples_fade() -> None:
    table = GrowthTable(memory=100)
    for growth, times in ((9, 300), (1, 1000)):
        for _ in range(times):
            table.learn(2, growth)
    assert table.needed(2, 0.001) == 3


@pytest.mark.parametrize("times", [1, 2, 50, 40_000, 100_000_000])
def test_a_row_of_equal_samples_is_learned_at_once(times: int) -> None:
    at_once, one_by_one = GrowthTable(memory=50), GrowthTable(memory=50)
    for table in (at_once, one_by_one):
        for growth in (4, 8, 0, 3):
            table.learn(1, growth)
    at_once.learn(1, 0, times)
    for _ in range(min(times, 2000)):
        one_by_one.learn(1, 0)
    at_once.learn(1, 5)
    one_by_one.learn(1, 5)
    for chance in (0.5, 0.1, 0.02, 0.001):
        assert at_once.needed(1, chance) == one_by_one.needed(1, chance)


def test_weights_that_have_grown_without_end_are_made_small_again() -> None:
    table = GrowthTable(memory=2)
    for number in range(2000):
        table.learn(0, number % 3)
    assert table.needed(0, 0.2) in (1, 2)


@given(load=st.integers(0, 10**6))
def test_buckets_rise_with_the_load(load: int) -> None:
    assert 0 <= bucket_of(load) <= bucket_of(load + 1) <= 47


@given(
    looks=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=60),
    horizon=st.integers(1, 6),
)
def test_both_tables_learn_the_most_within_their_horizon(
    looks: list[tuple[int, int]], horizon: int
) -> None:
    growth = Growth(horizon, memory=MANY, prior=0)
    hold, start = GrowthTable(memory=MANY, prior=0), GrowthTable(memory=MANY, prior=0)
    for load, overdue in looks:
        growth.look(load, overdue)
    for number, (load, _) in enumerate(looks):
        for table, begins in ((hold, number), (start, number + horizon)):
            if begins + horizon < len(looks):
                most = max(overdue for _, overdue in looks[begins : begins + horizon + 1])
                table.learn(load, most - load)
    for load in range(13):
        for chance in (0.0, 0.05, 0.3, 0.9):
            assert growth.hold.needed(load, chance) == hold.needed(load, chance)
            assert growth.start.needed(load, chance) == start.needed(load, chance)


@given(
    before=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=10),
    rest=st.integers(1, 60),
    after=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20),
)
def test_a_rest_is_that_many_looks_at_nobody(
    before: list[tuple[int, int]], rest: int, after: list[tuple[int, int]]
) -> None:
    at_once, one_by_one = Growth(4, memory=1000), Growth(4, memory=1000)
    for growth in (at_once, one_by_one):
        for load, overdue in before:
            growth.look(load, overdue)
    at_once.rest(rest)
    for _ in range(rest):
        one_by_one.look(0, 0)
    for growth in (at_once, one_by_one):
        for load, overdue in after:
            growth.look(load, overdue)
    for load in range(6):
        for chance in (0.01, 0.1, 0.5):
            assert at_once.hold.needed(load, chance) == one_by_one.hold.needed(load, chance)
            assert at_once.start.needed(load, chance) == one_by_one.start.needed(load, chance)
