"""Numbers, money and instants as people read them. Pure.

Whatever stands in one column has the same number of decimals, so that it is aligned to the point.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from markupsafe import Markup, escape

from gateway.money.text import iso
from gateway.types import MICRO, NANO

NOTHING = "–"
_DAY_S = 86_400


def count(number: float | None) -> str:
    """12345 -> '12,345'."""
    return NOTHING if number is None else f"{number:,.0f}"


def counted(number: int, one: str) -> str:
    """(2, 'call') -> '2 calls'."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def money(nano: int | None, places: int = 2) -> str:
    """Nano-dollars -> '1,234.50'; what is there and would be read as nothing is '<0.01'."""
    if nano is None:
        return NOTHING
    step = NANO // 10**places
    rounded = (abs(nano) + step // 2) // step
    if nano and not rounded:
        return f"<{1 / 10**places:.{places}f}"
    whole, rest = divmod(rounded, 10**places)
    sign = "−" if nano < 0 else ""
    return f"{sign}{whole:,}.{rest:0{places}d}" if places else f"{sign}{whole:,}"


def places_for(amounts: Iterable[int]) -> int:
    """Decimals of dollars that a column of such amounts needs."""
    most = max((abs(amount) for amount in amounts), default=0)
    return 2 if most >= NANO else 4 if most >= NANO // 100 else 6


def dollars(nano: int | None) -> str:
    """Standing alone: '$184.20', '$0.0022'."""
    if nano is None:
        return NOTHING
    if not nano:
        return "$0"
    text = money(nano, places_for([nano]))
    return f"<${text[1:]}" if text[0] == "<" else f"−${text[1:]}" if nano < 0 else f"${text}"


def duration(seconds: float | None) -> str:
    """'0.4 ms', '412 ms', '1.31 s', '18 s', '3 min 20 s', '5 h 12 min', '3 d 4 h'."""
    if seconds is None:
        return NOTHING
    if seconds < 0:
        return f"−{duration(-seconds)}"
    if seconds < 1:
        ms = seconds * 1_000
        return f"{ms:.1f} ms" if 0 < ms < 10 else f"{ms:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for unit, name, smaller, below in (
        (60, "min", 1, "s"),
        (3_600, "h", 60, "min"),
        (_DAY_S, "d", 3_600, "h"),
    ):
        if seconds < unit * 60 or unit == _DAY_S:
            rest = int(seconds % unit // smaller)
            return f"{int(seconds // unit)} {name}" + (f" {rest} {below}" if rest else "")
    raise AssertionError("unreachable")


def micros(microseconds: int | None) -> str:
    """As ``duration``, of integer microseconds."""
    return NOTHING if microseconds is None else duration(microseconds / MICRO)


def hours(microseconds: int) -> str:
    """Of a column: '47.70'."""
    return f"{microseconds / MICRO / 3_600:,.2f}" if microseconds else NOTHING


def share(part: float, whole: float) -> str:
    """'0.21 %', '41 %'."""
    if not whole:
        return NOTHING
    percent = part / whole * 100
    if percent and percent < 0.01:
        return "<0.01 %"
    return f"{percent:.2f} %" if percent < 1 and part else f"{percent:.0f} %"


def change(now: float, before: float) -> str:
    """Against the period before: '+12 %', '−38 %', 'new'."""
    if not before:
        return "new" if now else NOTHING
    percent = (now - before) / before * 100
    if round(percent) == 0:
        return "0 %"
    if abs(percent) >= 1_000:
        return f"× {now / before:,.0f}"
    return f"{percent:+.0f} %".replace("-", "−")


def amount(number: float) -> str:
    """Large counts in short: '1.2 M'."""
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            return f"{number / (1e3 if name == 'k' else size):.3g} {name}"
    return f"{number:,.0f}"


def when(instant: float | None, zone: datetime.tzinfo, form: str = "minute") -> Markup:
    """An instant in the reader's zone, with UTC where the mouse rests. ``form``: day, minute,
    second, milli or clock."""
    if instant is None:
        return escape(NOTHING)
    local = datetime.datetime.fromtimestamp(instant, zone)
    text = local.strftime(_FORMS[form])
    if form == "milli":
        text += f".{local.microsecond // 1_000:03d}"
    utc = iso(instant, "milliseconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc, utc.replace("T", " ").replace("Z", " UTC"), text
    )


def utc_day(since: float, until: float) -> str:
    """A day as platforms count it, 'Sun 30 Nov'; 'Sun 30 Nov 10:00 – 12:00' of a part of one, and
    'Sun 30 Nov – Tue 02 Dec' of several."""
    first, last = (datetime.datetime.fromtimestamp(at, datetime.UTC) for at in (since, until))
    name = f"{first:%a %d %b}"
    if until - since < _DAY_S:
        return f"{name} {first:%H:%M} – {last:%H:%M}"
    ending = last - datetime.timedelta(microseconds=1)
    return name if until - since == _DAY_S else f"{name} – {ending:%a %d %b}"


_FORMS = {
    "day": "%a %d %b",
    "minute": "%d %b %H:%M",
    "second": "%d %b %H:%M:%S",
    "milli": "%H:%M:%S",
    "clock": "%H:%M",
}


def midnight(now_at: float, zone: datetime.tzinfo, days_ago: int = 0) -> float:
    """When the reader's day began."""
    day = datetime.datetime.fromtimestamp(now_at, zone).date() - datetime.timedelta(days_ago)
    return datetime.datetime.combine(day, datetime.time(), zone).timestamp()
