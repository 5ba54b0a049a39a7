"""What a backend charges, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.money.price_comparison import figures_of, unit_of
from gateway.policy.sections.price import Price, Rates
from gateway.policy.syntax.scalars import WeeklyHours
from gateway.types import NANO

_IN_SHORT = ("per_hour", "per_second", "per_call", "per_million_input", "per_million_output",
             "per_image", "per_audio_second")  # fmt: skip
_DIFFERS = {"by_device": "device", "by_image": "image", "by_hours": "hour", "by_volume": "volume"}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def price_words(price: Price | None) -> str:
    """'$2.69 an hour', '$0.00116 a second of start and run', '$0.04 an image; differs by image'."""
    if price is None:
        return "free"
    words = ", ".join(_rates(price, _IN_SHORT))
    differs = [word for name, word in _DIFFERS.items() if getattr(price, name)]
    return f"{words}; differs by {' and '.join(differs)}" if differs else words


def price_facts(price: Price | None) -> Iterator[tuple[str, str]]:
    """(What it is the price of, the price), the one that holds elsewhere first."""
    if price is None:
        yield "price", "free"
        return
    yield "price", ", ".join(_rates(price))
    for device in price.by_device:
        yield f"on {device.device}", _differing(device)
    for image in price.by_image:
        kind = " ".join(word for word in (image.size, image.quality) if word)
        yield f"of images {kind}", f"{_dollars(image.per_image)} an image"
    for hourly in price.by_hours:
        yield _hours(hourly.hours), _differing(hourly)
    volume = price.by_volume
    for tier in () if volume is None else volume.tiers:
        what = "" if volume is None else f"{volume.of.replace('_', ' ')} a {volume.per}"
        yield f"above {tier.above:,} {what}", _differing(tier)


def _rates(price: Price, only: tuple[str, ...] | None = None) -> Iterator[str]:
    for figure, rate in figures_of(price):
        if only is None or figure in only:
            billed = f" of {', '.join(price.bills)}" if price.bills != ("run",) else ""
            per_second = billed if figure == "per_second" else ""
            yield f"{_dollars(rate)} {unit_of(figure)}{per_second}"


def _differing(rates: Rates) -> str:
    return ", ".join(f"{_dollars(rate)} {unit_of(name)}" for name, rate in rates.rates().items())


def _hours(hours: WeeklyHours) -> str:
    """'Mon-Fri 08:00-20:00 UTC'."""
    days = hours.days
    first = next((day for day in sorted(days) if (day - 1) % 7 not in days), None)
    named = "" if first is None else _DAYS[first]
    if first is not None and len(days) > 1:
        named += f"-{_DAYS[(first + len(days) - 1) % 7]}"
    return f"{named} {_time(hours.start)}-{_time(hours.end)} {hours.zone}".strip()


def _time(minute: int) -> str:
    return f"{minute // 60 % 24:02d}:{minute % 60:02d}"


def _dollars(nano: int) -> str:
    return f"${nano / NANO:.9f}".rstrip("0").rstrip(".")
