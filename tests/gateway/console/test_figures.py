"""Numbers as people read them."""

from __future__ import annotations

import datetime

import pytest

from gateway.console.drawing.figures import (
    change,
    dollars,
    duration,
    money,
    places_for,
    share,
    when,
)


@pytest.mark.parametrize(
    ("nano", "places", "text"),
    [
        (184_200_000_000, 2, "184.20"),
        (1_234_567_000_000, 2, "1,234.57"),
        (0, 2, "0.00"),
        (1_000_000, 2, "<0.01"),
        (4_999_999, 2, "<0.01"),
        (5_000_000, 2, "0.01"),
        (-1_500_000_000, 2, "−1.50"),
        (2_184_000, 6, "0.002184"),
        (999_999_999_999, 0, "1,000"),
        (None, 2, "–"),
    ],
)
def test_money_is_aligned_to_the_point_and_never_nothing_where_it_is_something(
    nano: int | None, places: int, text: str
) -> None:
    assert money(nano, places) == text


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "$0"), (2_184_000, "$0.002184"), (83_400_000, "$0.0834"), (6_000_000_000_000, "$6,000.00"),
     (-2_000_000_000, "−$2.00"), (1, "<$0.000001")],
)  # fmt: skip
def test_money_that_stands_alone_has_its_sign(nano: int, text: str) -> None:
    assert dollars(nano) == text


def test_a_column_has_as_many_decimals_as_its_largest_needs() -> None:
    assert [places_for(amounts) for amounts in ([5 * 10**9, 1], [10**7], [10**6], [])] == [
        2,
        4,
        6,
        6,
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.0004, "0.4 ms"), (0.412, "412 ms"), (1.31, "1.3 s"), (18, "18 s"),
     (59.4, "59 s"), (200, "3 min 20 s"), (3_600, "1 h"), (18_720, "5 h 12 min"),
     (273_600, "3 d 4 h"), (-3.5, "−3.5 s"), (-10_800, "−3 h"), (None, "–")],
)  # fmt: skip
def test_a_duration_has_the_unit_that_one_would_say(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_shares_and_changes() -> None:
    assert [share(*one) for one in ((21, 10_000), (1, 10**6), (0, 5), (41, 100), (1, 0))] == [
        "0.21 %", "<0.01 %", "0 %", "41 %", "–",
    ]  # fmt: skip
    changes = ((112, 100), (62, 100), (5, 0), (0, 0), (100, 100), (5_000, 1))
    assert [change(*one) for one in changes] == [
        "+12 %", "−38 %", "new", "–", "0 %", "× 5,000",
    ]  # fmt: skip


def test_an_instant_is_the_reader_s_with_utc_beside_it() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=1))
    assert when(1_764_507_731.482, zone, "minute") == (
        '<time datetime="2025-11-30T13:02:11.482Z" title="2025-11-30 13:02:11.482 UTC">'
        "30 Nov 14:02</time>"
    )
