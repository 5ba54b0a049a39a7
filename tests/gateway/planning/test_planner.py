"""The planner: a worker is held or started for a reason, and none where nobody comes."""

from __future__ import annotations

import msgspec

from gateway.planning.baseline import BaselineRule
from gateway.planning.planner import Planner, PlanRule, Seen
from gateway.planning.starts import StartSamples

RULE = PlanRule(slo_s=2.0, baseline=BaselineRule(share=0.644))
STARTS = StartSamples([4.0, 5.0, 6.0])


def seen(load: int = 0, *, overdue: int = 0, waiting: int = 0, ready: int = 0) -> Seen:
    return Seen(load, overdue, waiting, ready)


def test_a_call_that_waits_for_nobody_starts_a_worker() -> None:
    plan = Planner(RULE, STARTS, 0.0).look(0.0, seen(1, waiting=1))
    assert (plan.hold, plan.starting, plan.reserved) == (1, 1, 0)


def test_where_nobody_comes_nothing_is_held() -> None:
    planner = Planner(RULE, STARTS, 0.0)
    planner.rest(1000.0, 2000)
    plan = planner.look(1000.5, seen(ready=3))
    assert (plan.hold, plan.starting) == (0, 0)


def test_a_burst_that_comes_again_and_again_finds_workers_held() -> None:
    """Every half minute five calls come at once, for ten seconds."""
    planner = Planner(RULE, STARTS, 0.0)
    plans = []
    for number in range(20_000):
        now = number / 2
        busy = now % 30 < 10
        overdue = 5 if 2 <= now % 30 < 10 else 0
        plans.append(planner.look(now, seen(5 if busy else 0, overdue=overdue, ready=5)))
    assert {plan.hold for plan in plans[-60:]} == {5}


def test_several_race_for_one_call_where_a_promise_can_be_kept_by_it() -> None:
    rule = PlanRule(slo_s=5.0, baseline=BaselineRule(share=0.644))
    plan = Planner(rule, STARTS, 0.0).look(0.0, seen(1, waiting=1))
    assert plan.worth.starts > 1
    assert plan.starting == plan.worth.starts


def test_where_starts_keep_every_promise_nothing_is_held_and_each_wait_starts_one() -> None:
    rule = PlanRule(slo_s=10.0, baseline=BaselineRule(share=0.644))
    planner = Planner(rule, STARTS, 0.0)
    planner.rest(1000.0, 2000)
    plan = planner.look(1000.5, seen(3, waiting=2, ready=1))
    assert (plan.starting, plan.worth.starts) == (2, 1)
    assert planner.look(1001.0, seen(ready=3)).hold == 0


def test_what_is_wanted_for_most_of_an_hour_is_reserved() -> None:
    planner = Planner(RULE, STARTS, 0.0)
    for number in range(10_000):
        plan = planner.look(number / 2, seen(3, overdue=3, ready=3))
    assert plan.reserved == 3
    assert planner.reserved == 3


def test_starts_that_are_learned_change_what_a_late_call_is_worth_at_once() -> None:
    planner = Planner(RULE, STARTS, 0.0)
    before = planner.look(0.0, seen(1)).worth
    planner.learn_starts(StartSamples([40.0, 50.0, 60.0]))
    assert planner.look(0.5, seen(1)).worth.seconds > before.seconds + 40


def test_what_is_known_to_come_is_started_and_held_beside_what_runs() -> None:
    planner = Planner(RULE, STARTS, 0.0)
    planner.rest(1000.0, 2000)
    coming = Seen(2, 0, 0, 2, coming=3)
    plan = planner.look(1000.5, coming)
    assert (plan.hold, plan.starting) == (5, 3)
    ready = planner.look(1001.0, msgspec.structs.replace(coming, ready=5))
    assert (ready.hold, ready.starting) == (5, 0)
