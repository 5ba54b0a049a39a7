"""How long a message waits between attempts, and an endpoint after failures. Pure."""

from __future__ import annotations

FIRST_S = 5.0
_FACTOR = 4.0
LONGEST_S = 86_400.0
_LONGEST_REST_S = 60.0


def pause_s(attempt: int, draw: float, asked_s: float | None = None) -> float:
    """Seconds until the next attempt, after the ``attempt``-th (1, 2, ...) failed: four times as
    long each time, from 5 s up to a day, less up to a fifth by ``draw`` (0 to 1), so that many do
    not come at once. ``asked_s``: the receiver's ``Retry-After``, which is waited for at least, up
    to a day."""
    pause = min(FIRST_S * _FACTOR ** min(attempt - 1, 10), LONGEST_S) * (1 - draw / 5)
    return max(pause, min(asked_s or 0.0, LONGEST_S))


def rest_s(failures: int, draw: float) -> float:
    """Seconds until an endpoint that has failed so many times in a row is asked again, by one
    message: a minute at the most, so that it is soon found to be back."""
    return float(min(2.0 ** min(failures, 6), _LONGEST_REST_S) * (1 - draw / 5))
