"""What holds of jobs at the end of every seed that has some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.storage.base import LedgerRow
from tests.simulation.jobs.askers import ENDED, JobDay
from tests.simulation.jobs.depot import NAME, Depot
from tests.simulation.world import EPOCH, World

_JOBS = "SELECT id, state, cost_nano, answer, webhook FROM jobs ORDER BY number"
_ENDS = "SELECT data FROM job_events WHERE job = ? AND kind = 'state' ORDER BY number"


def violations(world: World) -> list[str]:
    """Everything that does not hold, in words."""
    day = world.jobs
    if day is None:
        return []
    jobs = world.ledger.database.read(_JOBS)
    known = {id for id, *_ in jobs}
    return [
        *_broken_promises(day, known),
        *(found for job in jobs for found in _wrong_job(world, *job)),
        *(found for id, *_, webhook in jobs if webhook for found in _untold(world, day, id)),
        *_rows_of_nothing(world, known),
        *_twice_at_the_depot(world),
        *_left_open(world),
    ]


def is_job(id: str) -> bool:
    """Whether a row is of a job, or of an attempt at one."""
    return id.startswith("job_")


def beyond_holds(world: World, rows: Iterable[LedgerRow]) -> int:
    """Nano-dollars that jobs cost past what was held for them: where the gateway that had one was
    gone while a platform ran it, so that nobody could hold more, or stop it; and while a platform
    stops one whose hold is used up."""
    gone = [
        EPOCH + fault.at_s
        for fault in world.faults
        if fault.what in ("kill", "end", "cut off") or fault.what.startswith("ledger")
    ]
    return sum(
        max(0, row.cost_nano - row.hold_nano)
        for row in rows
        if row.backend == NAME
        and (
            row.error == "budget_exhausted"
            or any(row.started_at <= at <= (row.ended_at or 0) for at in gone)
        )
    )


def _broken_promises(day: JobDay, known: set[str]) -> Iterator[str]:
    """What a caller was told of is there, and by one name there is one."""
    for name, ids in day.promised.items():
        yield from (f"{name} was promised as {id}, and is not there" for id in ids - known)
    for job in day.asked:
        if job.key and len(day.promised[job.name]) > 1:
            yield f"{job.name} was accepted {len(day.promised[job.name])} times by one key"


def _wrong_job(
    world: World, id: str, state: str, cost_nano: int, answer: str, webhook: str
) -> Iterator[str]:
    """Each has ended, once, at what its rows cost."""
    if state not in ENDED:
        yield f"{id} is {state} for ever"
        return
    states = [
        msgspec.json.decode(data)["state"] for (data,) in world.ledger.database.read(_ENDS, id)
    ]
    ends = [one for one in states if one in ENDED]
    if ends != [state] or states[-1:] != [state]:
        yield f"{id} is {state}, and its events say {states}"
    rows = _rows_of(world, id)
    if sum(row.cost_nano for row in rows) != cost_nano:
        yield f"{id} cost {cost_nano}, and its rows say {[row.cost_nano for row in rows]}"
    own = [row for row in rows if row.id == id]
    if len(own) != 1:
        yield f"{id} has {len(own)} rows"
    elif (own[0].outcome == "success") != (state == "succeeded"):
        yield f"{id} is {state}, and its row says {own[0].outcome} {own[0].error}"
    if state == "succeeded" and not answer:
        yield f"{id} has succeeded without an answer"


def _rows_of(world: World, id: str) -> list[LedgerRow]:
    rows = world.ledger.settled.values()
    return [row for row in rows if row.id.partition("#")[0] == id]


def _untold(world: World, day: JobDay, id: str) -> Iterator[str]:
    """Its end was told, by one id, as it was."""
    told = day.receiver.told.get(f"{id}_ended", [])
    if f"{id}_ended" not in day.receiver.taken:
        yield f"{id} has ended, and nobody took that of {len(told)} times"
    if len(set(told)) > 1:
        yield f"{id} was told otherwise the second time"
    [[state]] = world.ledger.database.read("SELECT state FROM jobs WHERE id = ?", id)
    said: Any = [msgspec.json.decode(one)["data"]["state"] for one in told]
    if set(said) - {state}:
        yield f"{id} is {state}, and was told as {said}"


def _rows_of_nothing(world: World, known: set[str]) -> Iterator[str]:
    """What was not accepted costs nothing."""
    for row in world.ledger.settled.values():
        id = row.id.partition("#")[0]
        if is_job(id) and id not in known and row.cost_nano:
            yield f"{row.id} was never accepted, and cost {row.cost_nano}"


def _twice_at_the_depot(world: World) -> Iterator[str]:
    """Of a call the platform never runs two jobs at once, and none after one that went well."""
    depot = world.platforms[NAME]
    assert isinstance(depot, Depot)
    latest: dict[str, Any] = {}
    for job in depot.jobs.values():
        before = latest.get(job.call)
        if before is not None and (before.over_at > job.taken_at or before.fails is None):
            yield f"{job.call} is at the depot twice"
        latest[job.call] = job


def _left_open(world: World) -> Iterator[str]:
    for (id,) in world.ledger.database.read("SELECT id FROM open_entries ORDER BY id"):
        yield f"{id} is still open in the books"
