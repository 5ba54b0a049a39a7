"""For how long an error object asks to be left alone. Pure."""

from __future__ import annotations

from typing import Any

from adapters.http.response import LONGEST_RETRY_S
from adapters.shapes.numbers import finite


def asked_to_wait(error: Any) -> float | None:
    """Seconds, a day at most, where it says it: ``retry_after``, or the headers
    of who is behind the server (https://openrouter.ai/docs/api-reference/errors)."""
    if not isinstance(error, dict):
        return None
    inner = error.get("error")
    if isinstance(inner, dict) and (found := asked_to_wait(inner)) is not None:
        return found
    metadata = error.get("metadata")
    behind = metadata.get("headers") if isinstance(metadata, dict) else None
    places = [one for one in (error, behind) if isinstance(one, dict)]
    named = {str(name).lower().replace("-", "_"): v for one in places for name, v in one.items()}
    return _seconds(named.get("retry_after"))


def _seconds(value: Any) -> float | None:
    seconds = finite(value)
    return None if seconds is None else min(max(0.0, seconds), LONGEST_RETRY_S)
