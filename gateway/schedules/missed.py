"""What becomes of the instants of a schedule that are due. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.policy.sections.schedules import ScheduleSpec


class Decided(NamedTuple):
    """One of them."""

    instant: float
    is_begun: bool
    """False: it is passed over."""


def decided(
    schedule: ScheduleSpec, due: Sequence[float], now: float, *, is_tried: bool = False
) -> list[Decided]:
    """Each of them, in their order. What is no older than the grace was not missed, and is begun;
    so may be what was, by the schedule's rule. ``is_tried``: somebody was there for the first."""
    found = [Decided(at, _is_begun(schedule, at, due, now)) for at in due]
    return [found[0]._replace(is_begun=True), *found[1:]] if found and is_tried else found


def _is_begun(schedule: ScheduleSpec, at: float, due: Sequence[float], now: float) -> bool:
    if schedule.missed == "all" or now - at <= schedule.grace:
        return True
    return schedule.missed == "once" and at == due[-1]
