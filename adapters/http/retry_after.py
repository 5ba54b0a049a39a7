"""For how long a backend asks to be left alone. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from adapters.http.response import find_header

LONGEST_RETRY_S = 86_400.0
"""A backend that asks to be left alone for longer is not believed."""


def retry_after(headers: list[tuple[bytes, bytes]], now: float) -> float | None:
    """Seconds, from ``retry-after-ms`` or ``Retry-After`` (a number or a date, RFC 9110); a day at
    most."""
    try:
        seconds = _asked_to_wait(headers, now)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return None if seconds is None else min(max(0.0, seconds), LONGEST_RETRY_S)


def _asked_to_wait(headers: list[tuple[bytes, bytes]], now: float) -> float | None:
    if (milliseconds := find_header(headers, b"retry-after-ms")) is not None:
        return float(milliseconds) / 1000
    value = find_header(headers, b"retry-after")
    if value is None:
        return None
    if value.strip().replace(".", "", 1).isdigit():
        return float(value)
    return parsedate_to_datetime(value).timestamp() - now
