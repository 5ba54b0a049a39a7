"""Minutes in which at least twice as many calls came as in a mean minute before. Pure."""

from __future__ import annotations

from gateway.replay.traffic import Traffic

_MINUTE_S = 60.0
_TIMES = 2.0


class Surges:
    """Of a recording: each minute is held against the hour before it; of a short recording, against
    ten minutes."""

    def __init__(self, traffic: Traffic) -> None:
        self._start = traffic.arrivals[0].at // _MINUTE_S * _MINUTE_S
        before = 10 if traffic.is_short else 60
        counts = [0] * (self._minute(traffic.arrivals[-1].at) + 1)
        for one in traffic.arrivals:
            counts[self._minute(one.at)] += 1
        self._minutes = frozenset(_surges(counts, before))

    def at(self, instant: float) -> bool:
        """Whether a call that came then came in such a minute."""
        return self._minute(instant) in self._minutes

    def _minute(self, instant: float) -> int:
        return int((instant - self._start) // _MINUTE_S)


def _surges(counts: list[int], before: int) -> list[int]:
    found, trailing = [], 0
    for minute, count in enumerate(counts):
        known = min(minute, before)
        if known and count and count * known >= _TIMES * trailing:
            found.append(minute)
        trailing += count - (counts[minute - before] if minute >= before else 0)
    return found
