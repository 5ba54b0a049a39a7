"""Which timetable a schedule goes by when, where its policy has changed it. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from gateway.schedules.instants import MOST_DUE, due
from gateway.storage.schedules.base import StoredSchedule, Timetable


class Change(NamedTuple):
    """From ``since`` on, in seconds since the epoch, a schedule goes by this timetable."""

    timetable: Timetable
    since: float


class DueInstants(NamedTuple):
    """Instants of one timetable that are due."""

    change: Change | None
    """That to its timetable, which the store is to know first; None: it does."""
    instants: list[float]


def unstored(stored: StoredSchedule, changes: Sequence[Change]) -> list[Change]:
    """Those of ``changes``, which are in their order, that the store does not know: newer ones, and
    what comes behind the first that is another timetable."""
    newer = (one for one in changes if one.since > stored.changed_at)
    return list(itertools.dropwhile(lambda one: one.timetable == stored.timetable, newer))


def spans(stored: StoredSchedule, changes: Sequence[Change], now: float) -> list[DueInstants]:
    """What is due up to ``now``, each instant by the timetable that was in force then; the last
    ``MOST_DUE`` of them. ``changes``: those that the store does not know."""
    begins: list[tuple[Change | None, Timetable, float]]
    begins = [(None, stored.timetable, stored.place)]
    begins += [(one, one.timetable, max(stored.place, one.since)) for one in changes]
    ends = [*(one.since for one in changes), now]
    left, found = MOST_DUE, []
    for (change, timetable, begin), end in reversed(list(zip(begins, ends, strict=True))):
        instants = due(timetable, begin, end)[-left:] if left else []
        left -= len(instants)
        found.append(DueInstants(change, instants))
    return found[::-1]
