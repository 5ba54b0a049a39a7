"""Money and instants are written down exactly, and in one way."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.money.text import iso, iso_or_none, short_usd, usd

AMOUNTS = st.integers(-(10**27), 10**27)


@given(nano=AMOUNTS, padded=st.booleans())
def test_not_one_nano_dollar_is_lost(nano: int, padded: bool) -> None:
    """Written down and read back."""
    written = usd(nano, padded=padded)
    assert Decimal(written).scaleb(9) == nano
    assert written.startswith("-") == (nano < 0)


@pytest.mark.parametrize(
    ("nano", "short", "padded"),
    [
        (0, "0", "0.000000000"),
        (116_000, "0.000116", "0.000116000"),
        (2_500_000_000, "2.5", "2.500000000"),
        (-1, "-0.000000001", "-0.000000001"),
        (10**10, "10", "10.000000000"),
    ],
)
def test_zeros_at_the_end_are_written_where_figures_stand_in_a_column(
    nano: int, short: str, padded: str
) -> None:
    assert (usd(nano), usd(nano, padded=True)) == (short, padded)


def test_an_instant_is_cut_off_where_it_is_asked_for() -> None:
    instant = 1_767_273_599.9876  # 2026-01-01 13:19:59.9876 UTC
    assert iso(instant, "minutes") == "2026-01-01T13:19Z"
    assert iso(instant, "seconds") == "2026-01-01T13:19:59Z"
    assert iso(instant, "milliseconds") == "2026-01-01T13:19:59.987Z"


@given(st.integers(0, 4_000_000_000))
def test_an_instant_can_be_read_back(instant: int) -> None:
    moment = datetime.datetime.fromisoformat(iso(instant, "seconds"))
    assert moment.timestamp() == instant


def test_an_instant_that_is_not_yet_is_nothing() -> None:
    assert iso_or_none(None, "seconds") is None
    assert iso_or_none(0.0, "seconds") == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("dollars", "places", "told"),
    [
        (0.0, 4, "0.0000"),
        (0.00002, 4, "<0.0001"),
        (0.00006, 4, "0.0001"),
        (0.0000004, 6, "<0.000001"),
        (12.5, 4, "12.5000"),
    ],
)
def test_what_is_there_is_not_told_as_nothing(dollars: float, places: int, told: str) -> None:
    assert short_usd(dollars, places) == told
