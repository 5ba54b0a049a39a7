"""Prices beside other prices, and which of them were looked up too long ago. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from fractions import Fraction

import msgspec

from gateway.money.text import seconds
from gateway.policy.sections.price import RATES, DatedPrices, Price, epoch_s
from gateway.types import MICRO

FIGURES = ("per_hour", *RATES)
"""In the order in which they are shown."""


_UNITS = {
    "per_hour": "an hour",
    "per_second": "a second",
    "per_call": "a call",
    "per_million_input": "a million tokens in",
    "per_million_output": "a million tokens out",
    "per_image": "an image",
    "per_audio_second": "a second of sound",
}


def figures_of(price: Price) -> Iterator[tuple[str, int]]:
    """(The name of a rate, nano-dollars) of those that a price has."""
    for figure in FIGURES:
        if (rate := getattr(price, figure)) is not None:
            yield figure, rate


def unit_of(figure: str) -> str:
    """What a rate is the price of, for a person."""
    part = figure.removeprefix("per_million_").replace("_", " ")
    return _UNITS.get(figure, f"a million tokens of {part}")


def told_quantity(figure: str, quantity: int) -> str:
    """How much of what a rate is for, in the unit of the rate: '0.021744 s', '7'."""
    in_a_second = {"per_second": MICRO, "per_hour": MICRO, "per_audio_second": 1_000}.get(figure)
    if in_a_second is None:
        return f"{quantity:,}"
    return f"{seconds(quantity * (MICRO // in_a_second))} s"


class ListedPrice(msgspec.Struct, frozen=True):
    """One name's price as it holds on a day, and what is wrong with its dates."""

    name: str
    price: Price
    stale: str = ""


class Difference(msgspec.Struct, frozen=True):
    """One figure of two prices, in nano-dollars; None: the price does not have it."""

    figure: str
    ours: int | None
    theirs: int | None

    @property
    def percent(self) -> float | None:
        """By how much ours lies above theirs; None where there is nothing to divide by."""
        if self.ours is None or not self.theirs:
            return None
        return float(Fraction(100 * (self.ours - self.theirs), self.theirs))


class Compared(msgspec.Struct, frozen=True):
    """A price, the one that it is held against, and where they differ."""

    name: str
    against: str
    """Empty: there is none to hold it against."""
    differences: tuple[Difference, ...] = ()
    bills: tuple[str, str] | None = None
    """Which seconds each of the two bills, where that differs and there is a price of time."""


def listed(
    prices: Mapping[str, DatedPrices], today: datetime.date, older_than: int
) -> list[ListedPrice]:
    """The prices that hold today. ``older_than``: days after which a reading is too old."""
    now = epoch_s(today.isoformat())
    found = ((name, dated.at(now)) for name, dated in prices.items())
    return [ListedPrice(name, price, _stale(price, today, older_than)) for name, price in found]


def _stale(price: Price, today: datetime.date, older_than: int) -> str:
    if price.until is not None and price.until <= today.isoformat():
        return f"holds no more since {price.until}"
    if price.as_of is None:
        return "nobody says when it was looked up"
    days = (today - datetime.date.fromisoformat(price.as_of)).days
    if days < 0:
        return f"holds from {price.as_of} on"
    return f"looked up {days} days ago" if days > older_than else ""


def compared(
    ours: list[ListedPrice],
    theirs: list[ListedPrice],
    table: str = "",
    kinds: Mapping[str, str] | None = None,
) -> Iterator[Compared]:
    """Each of ours beside the one of theirs that has its name, with or without ``table`` before
    it; else beside the nearest of its platform. ``kinds``: our name -> the platform's."""
    known = {one.name: one for one in theirs}
    for one in ours:
        name = one.name.removeprefix(f"{table}/")
        other = known.get(name) or _nearest(one, theirs, (kinds or {}).get(one.name, ""))
        if other is None:
            yield Compared(one.name, "")
        else:
            yield _beside(one, other)


def _beside(one: ListedPrice, other: ListedPrice) -> Compared:
    bills = "+".join(one.price.bills), "+".join(other.price.bills)
    same = one.price.per_second is None or bills[0] == bills[1]
    differences = tuple(_differences(one.price, other.price))
    return Compared(one.name, other.name, differences, None if same else bills)


def _nearest(one: ListedPrice, theirs: list[ListedPrice], kind: str) -> ListedPrice | None:
    """By what time costs."""
    figure = "per_second" if one.price.per_second is not None else "per_hour"
    rate = getattr(one.price, figure)
    same = [
        other
        for other in theirs
        if other.name.startswith(f"{kind}/") and getattr(other.price, figure) is not None
    ]
    if rate is None or not kind or not same:
        return None
    return min(same, key=lambda other: abs(getattr(other.price, figure) - rate))


def _differences(ours: Price, theirs: Price) -> Iterator[Difference]:
    for figure in FIGURES:
        one, other = getattr(ours, figure), getattr(theirs, figure)
        if one != other:
            yield Difference(figure, one, other)
