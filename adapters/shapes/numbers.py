"""Numbers in JSON, as servers write them: some of them as text."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> float | None:
    """A number, also one that is written as text; None of what is none, or has no end."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
