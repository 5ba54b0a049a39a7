"""Recorded calls, and which part of them is judged. Pure.

The first part of a recording is there to be learned from; what is said of cost and delay is said of
the rest.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

DAY_S = 86_400.0
_SHORT_S = 2 * 3600.0
_FIRST_OF_SHORT_S = 1200.0
_TEXT_SLO_S, _RUN_SLO_S = 2.0, 10.0
_COPY_WITHIN_S = 1.0


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One call. Seconds."""

    at: float
    runs_s: float
    user: str = ""
    tokens: int = 0
    """Read and written; 0 where the recording does not say."""
    output: int = 0
    """Of these, those that were written."""
    model: str = ""
    """That was called; empty where the recording does not say."""
    plan: str = ""
    """Of the user."""
    stream: bool = False


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Calls in the order of their arrival, at least one. Instants are seconds of the recording."""

    name: str
    arrivals: Sequence[Arrival]
    slo_s: float
    """How long a call may wait for its worker."""
    judged_from: float
    judged_until: float
    weekday: int | None = None
    """Of its first day, 0 for a Monday; None where the recording does not say."""

    @property
    def judged_s(self) -> float:
        """How long the judged part lasts."""
        return self.judged_until - self.judged_from

    @property
    def is_short(self) -> bool:
        """Of two hours at most: capacity is then looked at by minutes instead of hours."""
        return self.arrivals[-1].at - self.arrivals[0].at <= _SHORT_S

    @property
    def period_s(self) -> float:
        """The time for which reserved capacity is chosen."""
        return 300.0 if self.is_short else 3600.0

    @property
    def judged(self) -> list[Arrival]:
        """The calls of the judged part."""
        return [one for one in self.arrivals if one.at >= self.judged_from]

    def learned_from(self) -> Traffic:
        """The first part alone, judged by itself. Raises ValueError where there is none."""
        first = [one for one in self.arrivals if one.at < self.judged_from]
        if not first:
            raise ValueError(f"{self.name} has no calls before the part that is judged")
        return msgspec.structs.replace(
            self, arrivals=first, judged_from=first[0].at, judged_until=self.judged_from
        )

    def scaled(self, factor: float, seed: int = 7) -> Traffic:
        """With so many times the calls, 0 or more: whole copies and a drawn part of one, each call
        of a copy a second later at most."""
        if factor == 1:
            return self
        draw = random.Random(seed)
        found = []
        for one in self.arrivals:
            for number in range(int(factor) + (draw.random() < factor % 1)):
                late = draw.random() * _COPY_WITHIN_S if number else 0.0
                found.append(msgspec.structs.replace(one, at=one.at + late) if late else one)
        if not found:
            raise ValueError(f"no call is left of {len(self.arrivals)} at a scale of {factor}")
        found.sort(key=lambda one: one.at)
        return msgspec.structs.replace(self, arrivals=found)


def split(
    name: str,
    arrivals: Sequence[Arrival],
    *,
    slo_s: float | None = None,
    train: float | None = None,
    text: bool = False,
    weekday: int | None = None,
) -> Traffic:
    """Traffic of which the share ``train``, 0 to below 1, is learned from. Left out: 20 minutes of
    a recording of up to two hours, a third of one of up to two days, half the days of a longer one.
    A call may wait ``slo_s``; left out: 2 s where calls are ``text``, else 10 s.

    Raises ValueError where nothing is left to judge, or nothing came at all.
    """
    if not arrivals:
        raise ValueError(f"{name} has no calls")
    ordered = sorted(arrivals, key=lambda one: one.at)
    first, last = ordered[0].at, ordered[-1].at
    begins = _first_judged(first, last) if train is None else first + train * (last - first)
    if not (begins < last or begins == first):
        raise ValueError(f"{name}: no call is left to judge after {begins - first:.0f} s")
    default = _TEXT_SLO_S if text else _RUN_SLO_S
    return Traffic(
        name=name,
        arrivals=ordered,
        slo_s=default if slo_s is None else slo_s,
        judged_from=begins,
        judged_until=max(last, begins + 1.0),
        weekday=weekday,
    )


def _first_judged(first: float, last: float) -> float:
    span = last - first
    if span <= _FIRST_OF_SHORT_S:
        return first + span / 3
    if span <= _SHORT_S:
        return first + _FIRST_OF_SHORT_S
    if span <= 2 * DAY_S:
        return first + _third(span)
    midnight = first // DAY_S * DAY_S
    days = -(-(last - midnight) // DAY_S)
    return midnight + days // 2 * DAY_S


def _third(span: float) -> float:
    """In whole hours, where it is longer than one."""
    third = span / 3
    return round(third / 3600) * 3600.0 if third > 3600 else third
