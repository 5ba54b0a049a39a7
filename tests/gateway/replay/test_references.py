"""What one would do without a planner."""

from __future__ import annotations

import pytest

from gateway.replay.platforms import PLATFORMS, Platform
from gateway.replay.references import fewest_workers, reserved, rule_of_thumb, serverless
from gateway.replay.traffic import DAY_S, Arrival, Traffic

AWAY = Platform(name="away", per_s=0.001, starts=(4.0,), default_idle_s=5.0, per_call=0.01)


def traffic(*calls: tuple[float, float], until: float = 1000.0, slo_s: float = 2.0) -> Traffic:
    arrivals = [Arrival(at, runs_s) for at, runs_s in calls]
    return Traffic(name="own", arrivals=arrivals, slo_s=slo_s, judged_from=0.0, judged_until=until)


def test_the_platform_alone_starts_a_worker_keeps_it_and_lets_it_go() -> None:
    found = serverless(traffic((10.0, 3.0), (19.0, 3.0), (100.0, 3.0)), AWAY)
    # The second call finds the first one's worker, idle for 2 s; the third finds none.
    seconds = (4 + 3 + 2 + 3 + 5) + (4 + 3 + 5)
    assert found.usd == pytest.approx(seconds * 0.001 + 3 * 0.01)
    assert (found.cold, found.late, found.starts) == (2, 2, 2)
    assert found.waits[2] == 4.0


def test_a_fleet_serves_in_turn_and_costs_its_time() -> None:
    found = reserved(traffic((0.0, 3.0), (1.0, 3.0), (1.5, 3.0)), AWAY, 1)
    assert (found.late, found.cold) == (1, 0)
    assert found.usd == pytest.approx(1000 * 2.69 / 3600)
    assert found.waits[0] == 2.0


@pytest.mark.parametrize(("target", "workers"), [(1.0, 3), (0.6, 2), (0.3, 1)])
def test_the_fewest_workers_that_keep_the_promise(target: float, workers: int) -> None:
    three_at_once = traffic((0.0, 30.0), (0.0, 30.0), (0.0, 30.0))
    assert fewest_workers(three_at_once, target) == workers


def test_a_thousand_a_day_is_told_by_the_day_before() -> None:
    busy = [(DAY_S + 60.0 * n, 1.0) for n in range(1200)]
    quiet = [(0.0, 1.0), *busy, (2 * DAY_S + 50.0, 1.0), (3 * DAY_S + 50.0, 1.0)]
    found = rule_of_thumb(traffic(*quiet, until=4 * DAY_S), PLATFORMS["modal"], workers=2)
    # After the busy day alone is a fleet there, until the next day's first call.
    assert found.reserved_gpus == pytest.approx(2 / 4, rel=0.01)
    few = rule_of_thumb(traffic((0.0, 1.0)), PLATFORMS["modal"], workers=2)
    assert few.reserved_usd == 0.0
