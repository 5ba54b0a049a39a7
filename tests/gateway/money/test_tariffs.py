"""Which of a backend's prices holds at an instant, and what is held by."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import Usage
from gateway.money.tariffs import Tariff, WindowUse, price_at, settled_by
from gateway.policy.sections.price import (
    RATES,
    DatedPrices,
    DeviceRates,
    HourlyRates,
    Price,
    VolumeRates,
    VolumeTier,
)
from gateway.policy.syntax.scalars import parse_hours

HOUR_S = 3600.0
FOR_EVER = float("inf")


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp()


def dated(as_of: str, **figures: Any) -> Price:
    return Price(as_of=as_of, source="a page", **figures)


RISING = DatedPrices.of(
    (
        dated("2026-08-19", per_hour=3_290),
        dated("2026-09-25", per_hour=3_490),
        dated("2026-10-19", per_hour=3_990),
    )
)


@pytest.mark.parametrize(
    ("instant", "rate"),
    [
        ("2026-01-01T00:00:00", 3_290),
        ("2026-09-24T23:59:59.999999", 3_290),
        ("2026-09-25T00:00:00", 3_490),
        ("2026-10-18T23:59:59", 3_490),
        ("2026-10-19T00:00:00", 3_990),
        ("2036-01-01T00:00:00", 3_990),
    ],
)
def test_the_price_of_the_day_holds(instant: str, rate: int) -> None:
    assert price_at(RISING, at(instant)).per_hour == rate


def test_a_call_that_may_see_the_next_price_is_held_by_the_dearer() -> None:
    tariff = Tariff(RISING)
    before = tariff.at(at("2026-09-24T23:55:00"), 600.0)
    assert before is not None
    assert (before.price.per_hour, before.dearest.per_hour) == (3_290, 3_490)
    early = tariff.at(at("2026-09-24T12:00:00"), 600.0)
    assert early is not None
    assert early.dearest.per_hour == 3_290


OFF_PEAK = Price(
    per_million_input=270,
    per_million_cached_input=70,
    per_million_output=1100,
    by_hours=(
        HourlyRates(
            hours=parse_hours("00:30-08:30 Asia/Shanghai"),
            per_million_input=135,
            per_million_cached_input=35,
            per_million_output=550,
        ),
    ),
)
"""16:30 to 00:30 UTC at half the price."""


@pytest.mark.parametrize(
    ("clock", "rates", "held"),
    [
        ("16:29:59", (270, 1100), (270, 1100)),
        ("16:30:00", (135, 550), (135, 550)),
        ("20:00:00", (135, 550), (135, 550)),
        ("00:29:59", (135, 550), (270, 1100)),
        ("00:30:00", (270, 1100), (270, 1100)),
    ],
)
def test_the_hours_are_those_of_the_zone_and_the_hold_knows_the_peak(
    clock: str, rates: tuple[int, int], held: tuple[int, int]
) -> None:
    found = Tariff(DatedPrices.of((OFF_PEAK,))).at(at(f"2026-11-20T{clock}"), 600.0)
    assert found is not None
    assert (found.price.per_million_input, found.price.per_million_output) == rates
    assert (found.dearest.per_million_input, found.dearest.per_million_output) == held
    assert found.dearest.per_million_cached_input is None  # held as if nothing were cached


def test_an_instant_is_looked_up_in_whatever_order_instants_come() -> None:
    tariff = Tariff(DatedPrices.of((OFF_PEAK,)))
    rates = []
    for clock in ("20:00:00", "12:00:00", "20:00:00", "00:10:00", "00:40:00"):
        found = tariff.at(at(f"2026-11-20T{clock}"), 1.0)
        assert found is not None
        rates.append(found.price.per_million_input)
    assert rates == [135, 270, 135, 135, 270]


BY_DEVICE = Price(
    per_second=1160,
    per_call=5,
    by_device=(
        DeviceRates(device="A100", per_second=760),
        DeviceRates(device="H200", per_second=1550),
    ),
)


@pytest.mark.parametrize(
    ("device", "rate", "estimated"),
    [("A100", 760, False), ("H200", 1550, False), ("B200", 1160, True), (None, 1160, True)],
)
def test_a_device_has_its_rates_and_one_that_nobody_names_is_marked(
    device: str | None, rate: int, estimated: bool
) -> None:
    tariff = Tariff(DatedPrices.of((BY_DEVICE,)))
    assert not tariff.varies
    assert tariff.constant is not None
    assert tariff.constant.dearest.per_second == 1550
    found, used = settled_by(tariff.constant, Usage(exec_s=1.0, device=device))
    assert (found.price.per_second, found.price.per_call, used.estimated) == (rate, 5, estimated)
    assert found.record.figures["per_second"] == rate


def test_a_price_that_knows_no_devices_does_not_ask() -> None:
    plain = Tariff(DatedPrices.of((Price(per_second=7),))).constant
    assert plain is not None
    used = Usage(exec_s=1.0, device="A100")
    assert settled_by(plain, used) == (plain, used)


TIERED = Price(
    per_million_input=100,
    by_volume=VolumeRates(
        of="tokens",
        per="month",
        tiers=(
            VolumeTier(above=1000, per_million_input=80),
            VolumeTier(above=5000, per_million_input=50),
        ),
    ),
)


@pytest.mark.parametrize(
    ("used", "rate"), [(0, 100), (1000, 100), (1001, 80), (5000, 80), (5001, 50), (10**12, 50)]
)
def test_a_tier_holds_past_what_it_is_above(used: int, rate: int) -> None:
    tariff = Tariff(DatedPrices.of((TIERED,)))
    tariff.uses = {"month": WindowUse(at("2026-12-01T00:00:00"), {"tokens": used})}
    found = tariff.at(at("2026-11-30T23:59:59"), 600.0)
    assert found is not None
    assert found.price.per_million_input == rate
    assert found.dearest.per_million_input == 100


def test_a_new_month_begins_with_the_first_tier_even_before_the_ledger_was_read() -> None:
    tariff = Tariff(DatedPrices.of((TIERED,)))
    tariff.uses = {"month": WindowUse(at("2026-12-01T00:00:00"), {"tokens": 9000})}
    found = tariff.at(at("2026-12-01T00:00:00"), 600.0)
    assert found is not None
    assert found.price.per_million_input == 100


def test_another_months_use_or_window_is_none() -> None:
    tariff = Tariff(DatedPrices.of((TIERED,)))
    assert tariff.windows() == {"month"}
    tariff.uses = {"day": WindowUse(FOR_EVER, {"tokens": 9000})}
    found = tariff.at(at("2026-11-30T23:59:59"), 600.0)
    assert found is not None
    assert found.price.per_million_input == 100


def test_a_reload_keeps_the_use_and_takes_the_prices() -> None:
    tariff = Tariff(DatedPrices.of((TIERED,)))
    tariff.uses = {"month": WindowUse(FOR_EVER, {"tokens": 9000})}
    assert tariff.followed_by(tariff.prices) is tariff
    following = tariff.followed_by(DatedPrices.of((Price(per_call=1),)))
    assert (following.varies, following.uses) == (False, tariff.uses)


def test_a_plain_price_is_worked_out_once() -> None:
    tariff = Tariff(DatedPrices.of((Price(per_second=7, round_up=100_000),)))
    assert not tariff.varies
    assert tariff.at(0.0, 1.0) is tariff.at(9e9, 1.0) is tariff.constant
    assert Tariff(None).at(0.0, 1.0) is None


RATE = st.integers(0, 1000)


@given(
    st.lists(RATE, min_size=4, max_size=4),
    st.floats(at("2026-11-01T00:00:00"), at("2026-11-30T00:00:00")),
    st.floats(0, 3 * 24 * HOUR_S),
    st.integers(0, 30),
)
def test_no_price_in_the_span_is_dearer_than_what_is_held_by(
    rates: list[int], now: float, lasts_s: float, used: int
) -> None:
    base, night, high, later = rates
    tier = VolumeRates(tiers=(VolumeTier(above=10, per_second=high),))
    by_hours = (HourlyRates(hours=parse_hours("Mon-Fri 20:00-08:00"), per_second=night),)
    prices = DatedPrices.of(
        (
            dated("2026-11-01", per_second=base, by_hours=by_hours, by_volume=tier),
            dated("2026-11-15", per_second=later, bills=("start", "run")),
        )
    )
    tariff = Tariff(prices)
    tariff.uses = {"month": WindowUse(FOR_EVER, {"tokens": used})}
    held = tariff.at(now, lasts_s)
    assert held is not None
    for step in range(9):
        then = tariff.at(now + lasts_s * step / 8, 0.0)
        assert then is not None
        for name in RATES:
            assert (getattr(then.price, name) or 0) <= (getattr(held.dearest, name) or 0)
        assert set(then.price.bills) <= set(held.dearest.bills)
