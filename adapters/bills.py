"""What platforms' bills are made of: amounts in US dollars, and instants as text. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from adapters.errors import malformed

DAY_S = 86_400.0
UNREADABLE_BILL = "The platform's bill could not be read."


def nano_of(dollars: Decimal, message: str = UNREADABLE_BILL) -> int:
    """Nano-dollars, to the nearest. Raises MALFORMED with ``message`` for what is no finite
    number."""
    try:
        return int((dollars * 1_000_000_000).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        raise malformed(message, detail="an amount is no number") from None


def rfc3339(instant: float) -> str:
    """Seconds since 1970-01-01 UTC as RFC 3339 has it, such as 2026-11-22T00:00:00Z."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
