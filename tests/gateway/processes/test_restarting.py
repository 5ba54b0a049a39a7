"""A process that dies once is started at once; one that dies again and again, later and later."""

from __future__ import annotations

from gateway.processes.parent import Restarts


def test_the_first_death_costs_nothing_and_each_more_within_a_minute_twice_as_much() -> None:
    restarts = Restarts()
    assert [restarts.died(1000.0 + n) for n in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]


def test_no_pause_is_longer_than_half_a_minute() -> None:
    restarts = Restarts()
    assert max(restarts.died(1000.0) for _ in range(50)) == 30.0


def test_a_death_is_forgotten_after_a_minute() -> None:
    restarts = Restarts()
    restarts.died(1000.0)
    restarts.died(1030.0)
    assert restarts.died(1061.0) == 0.5
    assert restarts.died(1200.0) == 0.0
