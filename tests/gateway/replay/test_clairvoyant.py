"""What is best: by hand for a few calls, and never dearer than any plan that can be carried out."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.replay.clairvoyant import clairvoyant
from gateway.replay.platforms import PLATFORMS, Platform
from gateway.replay.references import fewest_workers, reserved, serverless
from gateway.replay.traffic import Arrival, Traffic

AWAY = Platform(
    name="away", per_s=0.001, starts=(4.0,), default_idle_s=5.0, reserved_per_hour=3.6e6
)
"""Reserving never pays: 1,000 dollars a second."""


def traffic(calls: list[tuple[float, float]], slo_s: float = 2.0) -> Traffic:
    arrivals = sorted((Arrival(at, runs_s) for at, runs_s in calls), key=lambda one: one.at)
    end = max(arrivals[-1].at, 1.0)
    return Traffic(name="own", arrivals=arrivals, slo_s=slo_s, judged_from=0.0, judged_until=end)


@pytest.mark.parametrize(
    ("calls", "seconds"),
    [
        pytest.param([(10.0, 3.0)], 4 + 3, id="one call: a start and a run"),
        pytest.param([(10.0, 3.0), (15.0, 3.0)], 4 + 3 + 2 + 3, id="a gap that is kept"),
        pytest.param([(10.0, 3.0), (50.0, 3.0)], 2 * (4 + 3), id="a gap that is not"),
        pytest.param([(10.0, 3.0), (10.0, 3.0)], 2 * (4 + 3), id="two at once"),
    ],
)
def test_a_worker_is_kept_where_that_is_cheaper_than_a_start(
    calls: list[tuple[float, float]], seconds: float
) -> None:
    best = clairvoyant(traffic(calls), AWAY)
    assert best.plan == pytest.approx(seconds * AWAY.per_s)
    assert best.bound == pytest.approx(sum(runs_s for _, runs_s in calls) * AWAY.per_s)


def test_a_worker_that_is_always_at_work_is_reserved() -> None:
    busy = traffic([(float(at), 1.0) for at in range(3600)])
    best = clairvoyant(busy, PLATFORMS["runpod"])
    assert best.reserved == (1,) * len(best.reserved)
    assert best.plan == pytest.approx(busy.judged_s * 2.69 / 3600)


def test_a_call_waits_at_home_within_its_promise_alone() -> None:
    at_home = msgspec.structs.replace(AWAY, reserved_per_hour=0.0001)
    two = [(0.0, 100.0), (98.5, 100.0)]
    assert clairvoyant(traffic(two), at_home).reserved == (1,)
    assert clairvoyant(traffic(two, slo_s=1.0), at_home).reserved == (2,)


CALLS = st.lists(
    st.tuples(
        st.floats(0, 20_000, allow_nan=False).map(lambda at: round(at, 2)),
        st.floats(0.1, 400, allow_nan=False).map(lambda s: round(s, 2)),
    ),
    min_size=1,
    max_size=60,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(CALLS, st.sampled_from(sorted(PLATFORMS)), st.sampled_from([0.0, 2.0, 10.0]))
def test_nothing_undercuts_the_bound(
    calls: list[tuple[float, float]], platform: str, slo_s: float
) -> None:
    whole, where = traffic(calls, slo_s), PLATFORMS[platform]
    best = clairvoyant(whole, where)
    assert best.bound <= best.plan + 1e-9
    alone = serverless(whole, where).usd
    work = sum(one.runs_s for one in whole.arrivals) * where.per_s
    # Calls that run on after the judged time are paid for by the plan, not in a replay.
    assert best.plan <= work + len(calls) * where.mean_start_s * where.per_s + 1e-9
    assert alone >= 0
    fleet = reserved(whole, where, fewest_workers(whole, 1.0))
    assert best.bound <= fleet.usd + work
