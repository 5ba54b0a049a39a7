"""How many instances there should be, and which is to be stopped now. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.policy.sections.reserve import Reserve
from gateway.reserve.rented import Rented

FIRST_S, LONGEST_S = 30.0, 600.0
"""Before a hook that failed is called again; doubled up to the longer."""
PATIENCE = 5
"""Starts in a row that may fail; then nothing is started for an hour."""
GIVEN_UP_S = 3600.0


class WantedTrend(msgspec.Struct, frozen=True):
    """Since when more, or fewer, than there are should be. Seconds since the epoch."""

    more_since: float | None = None
    fewer_since: float | None = None


def trend_of(before: WantedTrend, wanted: int, there: int, now_at: float) -> WantedTrend:
    """With what is wanted now."""
    if wanted > there:
        return WantedTrend(now_at if before.more_since is None else before.more_since)
    if wanted < there:
        return WantedTrend(None, now_at if before.fewer_since is None else before.fewer_since)
    return WantedTrend()


def wanted_of(rule: Reserve, advised: int) -> int:
    """Instances for so many calls at once."""
    return min(rule.most, -(-max(0, advised) // rule.calls_per_instance))


def is_to_start(rule: Reserve, trend: WantedTrend, now_at: float) -> bool:
    """Whether more were wanted for long enough."""
    since = trend.more_since
    return since is not None and now_at - since >= rule.start_after


def to_stop(
    rule: Reserve, trend: WantedTrend, up: Sequence[Rented], wanted: int, now_at: float
) -> list[Rented]:
    """Those whose rented hour is about to end, where fewer were wanted for long enough."""
    since = trend.fewer_since
    if since is None or now_at - since < rule.stop_after:
        return []
    due = [one for one in up if one.paid_until(now_at) - now_at <= rule.stop_ahead]
    due.sort(key=lambda one: one.paid_until(now_at))
    return due[: max(0, len(up) - wanted)]


def pause_s(failures: int) -> float:
    """Before the next call of a hook that has failed so often in a row."""
    longest: float = FIRST_S * 2.0 ** min(failures - 1, 10)
    return min(longest, LONGEST_S)


def start_pause_s(failures: int) -> float:
    """The same before the next start."""
    return GIVEN_UP_S if failures % PATIENCE == 0 else pause_s(failures % PATIENCE)
