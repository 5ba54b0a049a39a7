"""What administrators are told of schedules."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from gateway.money.text import iso
from gateway.policy.sections.schedules import ScheduleSpec
from gateway.schedules.instants import after
from gateway.schedules.payers import model_of
from gateway.storage.schedules.base import (
    ScheduledRun,
    ScheduleStore,
    StoredSchedule,
    Timetable,
)

_NEXT = 3
_RUNS = 5


async def listed(
    schedules: Mapping[str, ScheduleSpec], store: ScheduleStore, now_at: float
) -> list[dict[str, Any]]:
    """Those of the policy, with their next instants and their last ones. Raises
    StorageUnavailable."""
    known = {one.name: one for one in await store.all()}
    return [
        {
            **_asked(name, schedule, now_at),
            "waits_for": _why(known.get(name)),
            "last": [_shown(run) for run in await store.runs(name, _RUNS)],
        }
        for name, schedule in schedules.items()
    ]


def _asked(name: str, schedule: ScheduleSpec, now_at: float) -> dict[str, Any]:
    coming = after(Timetable(schedule.cron, schedule.zone), now_at)
    return {
        "name": name,
        "begins": "job" if schedule.batch is None else "batch",
        "model": model_of(schedule) or None,
        "cron": schedule.cron,
        "zone": schedule.zone,
        "key": schedule.key,
        "user": schedule.user,
        "missed": schedule.missed,
        "overlap": schedule.overlap,
        "next": [iso(at, "seconds") for at in itertools.islice(coming, _NEXT)],
    }


def _why(stored: StoredSchedule | None) -> str | None:
    return None if stored is None else stored.why or None


def _shown(run: ScheduledRun) -> dict[str, Any]:
    """``state``: of what was begun, as far as that is known still."""
    return {
        "at": iso(run.instant, "seconds"),
        "outcome": run.outcome,
        "id": run.work or None,
        "state": run.state or None,
        "why": run.why or None,
    }
