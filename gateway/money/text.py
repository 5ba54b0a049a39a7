"""How amounts of money and instants are written down, everywhere in the gateway. Pure."""

from __future__ import annotations

import datetime
from typing import Literal

from gateway.types import MICRO, NANO


def usd(nano: int, *, padded: bool = False) -> str:
    """Nano-dollars as a decimal number of dollars, exactly: '0.000116'. ``padded``: with all nine
    decimals, so that figures below one another can be compared: '0.000116000'."""
    if 0 < nano < NANO and not padded:  # what most calls cost
        return f"0.{nano:09d}".rstrip("0")
    whole, rest = divmod(abs(nano), NANO)
    sign, digits = "-" if nano < 0 else "", f"{whole}.{rest:09d}"
    return sign + (digits if padded else digits.rstrip("0").rstrip("."))


def short_usd(dollars: float, places: int = 4) -> str:
    """'0.0021'; what is there and would be read as nothing is '<0.0001'."""
    text = f"{dollars:.{places}f}"
    return f"<{10**-places:.{places}f}" if dollars > 0 and not float(text) else text


def seconds(micro: int) -> str:
    """Microseconds as a decimal number of seconds, exactly: '1.5'."""
    whole, rest = divmod(abs(micro), MICRO)
    sign, digits = "-" if micro < 0 else "", f"{whole}.{rest:06d}"
    return sign + digits.rstrip("0").rstrip(".")


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(text: str) -> str:
    """A cell of CSV: text that a spreadsheet would run as a formula begins with '."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def iso(instant: float, to: Literal["minutes", "seconds", "milliseconds"]) -> str:
    """Seconds since the epoch as a time of RFC 3339 in UTC, cut off after ``to``:
    '2026-01-31T13:00Z', '2026-01-31T13:00:00Z', '2026-01-31T13:00:00.000Z'."""
    moment = datetime.datetime.fromtimestamp(instant, datetime.UTC)
    return moment.isoformat(timespec=to).replace("+00:00", "Z")


def iso_or_none(
    instant: float | None, to: Literal["minutes", "seconds", "milliseconds"]
) -> str | None:
    """As ``iso``; None of an instant that is not, or not yet."""
    return None if instant is None else iso(instant, to)
