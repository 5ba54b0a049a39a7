"""When a cron expression comes, in seconds since the epoch. Pure.

By the rules of Debian's cron (https://manpages.debian.org/cron.8, "Daylight Saving Time and other
time changes"), which ``cronsim`` follows: of a fixed time that the clock leaves out in spring the
instant is right after the gap, one that comes twice in autumn is once, at its first coming; what
comes every hour or every few minutes goes on by real time.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Iterator

from gateway.storage.schedules.base import Timetable

MOST_DUE = 100
"""Instants that are decided one by one; what is earlier is passed over with the first of them."""
_FIRST_WINDOW_S = 3_600.0


def after(timetable: Timetable, instant: float) -> Iterator[float]:
    """The instants behind one, in their order; none without a cron expression."""
    if not timetable.cron:
        return
    # Imported here because only a policy with schedules needs it.
    from cronsim import CronSim

    begin = datetime.datetime.fromtimestamp(instant, _zone(timetable.zone))
    last = instant
    for found in CronSim(timetable.cron, begin):
        at = found.timestamp()
        if at > last:
            last = at
            yield at


def next_after(timetable: Timetable, instant: float) -> float | None:
    """The first behind one; None: there is none in fifty years."""
    return next(after(timetable, instant), None)


def due(timetable: Timetable, place: float, now: float) -> list[float]:
    """The last ``MOST_DUE`` instants behind ``place`` and up to ``now``, in their order. What they
    cost to find is theirs, however long ago ``place`` is."""
    window_s = _FIRST_WINDOW_S
    while True:
        begin = max(place, now - window_s)
        found = []
        for at in after(timetable, begin):
            if at > now:
                break
            found.append(at)
        if begin <= place or len(found) >= MOST_DUE:
            return found[-MOST_DUE:]
        window_s *= 8


def _zone(name: str) -> datetime.tzinfo:
    """UTC needs no zone data, which a small machine may lack."""
    return datetime.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
