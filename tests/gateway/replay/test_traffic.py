"""Which part of a recording is judged, and how it grows."""

from __future__ import annotations

import pytest

from gateway.replay.traffic import DAY_S, Arrival, Traffic, split

HOUR_S = 3600.0


def traffic(*instants: float, **more: float) -> Traffic:
    return split("own", [Arrival(at, 1.0) for at in instants], **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "last", "begins"),
    [
        pytest.param(0.0, 3500.0, 1200.0, id="an hour: after 20 minutes"),
        pytest.param(0.0, 900.0, 300.0, id="a quarter: a third"),
        pytest.param(0.0, 24 * HOUR_S - 1, 8 * HOUR_S, id="a day: a third"),
        pytest.param(61_070.0, 12 * DAY_S - 6, 6 * DAY_S, id="twelve days: half"),
        pytest.param(14_400.0, 6.9 * DAY_S, 3 * DAY_S, id="seven days: three"),
    ],
)
def test_the_first_part_is_learned_from(first: float, last: float, begins: float) -> None:
    found = traffic(first, last)
    assert found.judged_from == pytest.approx(begins)
    assert found.judged_until == last
    assert [one.at for one in found.judged] == [last]
    assert [one.at for one in found.learned_from().arrivals] == [first]


def test_a_share_may_be_given_and_none_judges_all() -> None:
    found = traffic(10.0, 60.0, 110.0, train=0.5)
    assert found.judged_from == 60.0
    assert len(traffic(10.0, 60.0, train=0.0).judged) == 2
    with pytest.raises(ValueError, match="no calls before the part that is judged"):
        traffic(10.0, 60.0, train=0.0).learned_from()


def test_one_call_alone_is_judged_and_none_is_no_traffic() -> None:
    assert len(traffic(5.0).judged) == 1
    with pytest.raises(ValueError, match="own has no calls"):
        traffic()


def test_text_may_wait_less_unless_it_is_said() -> None:
    calls = [Arrival(1.0, 1.0)]
    assert split("own", calls, text=True).slo_s == 2.0
    assert split("own", calls).slo_s == 10.0
    assert split("own", calls, text=True, slo_s=7.0).slo_s == 7.0


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5, 3.0])
def test_scaled_traffic_has_so_many_times_the_calls_in_order(factor: float) -> None:
    found = traffic(*(float(at) for at in range(4000))).scaled(factor)
    assert len(found.arrivals) == pytest.approx(4000 * factor, rel=0.06)
    instants = [one.at for one in found.arrivals]
    assert instants == sorted(instants)


def test_a_scale_that_leaves_nothing_is_said() -> None:
    with pytest.raises(ValueError, match="no call is left"):
        traffic(1.0).scaled(0.0)
