"""What the warm pool does at an instant, from a rule and a view alone."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.policy.model import WarmRule
from gateway.policy.syntax.scalars import parse_hours
from gateway.warm.plan import WarmView, plan

MONDAY_0700 = 1_767_596_400.0  # 2026-01-05 07:00 UTC
HOURS = parse_hours("Mon-Fri 08:00-20:00")
COLD = WarmView(
    warm_idle=0,
    in_flight=0,
    rested_s=10_000.0,
    since_call_s=None,
    since_ping_s=None,
    learned_s=60.0,
    scalable=False,
)
WARM = msgspec.structs.replace(COLD, warm_idle=1, rested_s=5.0)


def act(rule: WarmRule, view: WarmView, hour: float = 1.5, **changes: Any) -> tuple[int, Any]:
    actions = plan(rule, msgspec.structs.replace(view, **changes), MONDAY_0700 + hour * 3600)
    return actions.pings, actions.workers


def test_outside_its_hours_nothing_is_kept_warm() -> None:
    """At seven, an hour before they begin, nobody pays."""
    assert act(WarmRule(hours=HOURS), COLD, hour=0.0) == (0, None)


def test_a_cold_backend_is_woken_ahead_of_its_hours() -> None:
    """Half an hour before they begin."""
    rule = WarmRule(hours=HOURS, ahead=1800.0)
    assert act(rule, COLD, hour=0.49) == (0, None)
    assert act(rule, COLD, hour=0.51) == (1, None)


def test_a_wake_up_is_not_repeated_while_it_works() -> None:
    """Ten seconds after a ping the platform may still be starting."""
    assert act(WarmRule(), COLD, since_ping_s=10.0, rested_s=10.0) == (0, None)
    assert act(WarmRule(), COLD, since_ping_s=31.0, rested_s=31.0) == (1, None)


def test_a_warm_backend_is_pinged_once_it_rested_for_the_interval() -> None:
    """Calls count as well as pings do."""
    rule = WarmRule(ping_every=240.0)
    assert act(rule, WARM, rested_s=239.0, since_ping_s=500.0) == (0, None)
    assert act(rule, WARM, rested_s=240.0, since_ping_s=500.0) == (1, None)
    assert act(rule, WARM, rested_s=240.0, in_flight=1) == (0, None)


def test_a_platform_that_can_be_told_is_told_the_spare_in_its_hours_alone() -> None:
    """Two workers by day, none by night."""
    rule = WarmRule(hours=HOURS, spare=2)
    assert act(rule, WARM, scalable=True) == (0, 2)
    assert act(rule, WARM, hour=0.0, scalable=True) == (0, 0)


def test_spares_are_told_only_while_keeping_pays() -> None:
    """With ``learned`` nobody pays for a spare through the night after the last call."""
    rule = WarmRule(keep="learned", spare=2)
    assert act(rule, WARM, scalable=True, since_call_s=50.0)[1] == 2
    assert act(rule, WARM, scalable=True, since_call_s=61.0)[1] == 0
    assert act(rule, COLD, scalable=True)[1] == 0


def test_where_it_cannot_be_told_each_missing_spare_is_woken() -> None:
    """Three wanted, one warm: two pings at once."""
    assert act(WarmRule(spare=3), WARM) == (2, None)


def test_learned_keeping_ends_when_a_next_call_is_no_longer_likely() -> None:
    """Within the learned time after a call it is kept, past it it is let go."""
    rule = WarmRule(keep="learned", ping_every=20.0)
    assert act(rule, WARM, since_call_s=50.0, rested_s=20.0, since_ping_s=20.0) == (1, None)
    assert act(rule, WARM, since_call_s=61.0, rested_s=20.0, since_ping_s=20.0) == (0, None)
    assert act(rule, COLD) == (0, None)


def test_keeping_none_only_wakes_ahead_of_the_hours() -> None:
    """Once the hours have begun, the calls keep it warm or nobody does."""
    rule = WarmRule(keep="none", hours=HOURS, ahead=1800.0)
    assert act(rule, COLD, hour=0.75) == (1, None)
    assert act(rule, COLD, hour=1.5) == (0, None)
