"""The port of schedules: how far each has come, and what its instants became.

A schedule's place is the last of its instants that is decided. A job or a batch is begun in the
step that moves the place past its instant: whoever goes on after a death begins nothing twice, and
forgets nothing. Whoever decides has a lease of the schedule by the store's clock, with a number of
its own (``epoch``).
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from gateway.storage.base import LedgerRow
from gateway.storage.batches.base import StoredBatch
from gateway.storage.jobs.base import NewJob

Outcome = Literal["begun", "missed", "overlapped", "refused"]
"""Of an instant: what it was for has begun; nobody was there; the one before had not ended; it
could not be begun."""


class Timetable(msgspec.Struct, frozen=True):
    """When a schedule begins what it begins; without ``cron`` never."""

    cron: str = ""
    zone: str = "UTC"


NEVER = Timetable()


class StoredSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """How far a schedule has come."""

    name: str
    timetable: Timetable
    """By which its instants are counted from its place on."""
    place: float
    """Seconds since the epoch, as all instants here: those up to it are decided."""
    changed_at: float
    """Since when it has this timetable."""
    epoch: int = 0
    why: str = ""
    """What its next instant waits for, where it is due and could not be begun yet."""


class ScheduledRun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one instant."""

    schedule: str
    instant: float
    outcome: Outcome
    work: str = ""
    """The id of the job or batch that was begun."""
    why: str = ""
    state: str = ""
    """Of the job or batch, when it is read; empty once that is forgotten."""


class NewWork(msgspec.Struct, frozen=True, kw_only=True):
    """What is begun: a job with the open row of its call, or a batch."""

    job: NewJob | None = None
    row: LedgerRow | None = None
    batch: StoredBatch | None = None

    @property
    def id(self) -> str:
        if self.job is not None:
            return self.job.id
        return "" if self.batch is None else self.batch.id


class ScheduleStore(Protocol):
    """Schedules of several gateways. Each method is one transaction, by the store's clock, and
    raises StorageUnavailable: nothing was done then, or nobody knows. What takes an ``epoch`` gives
    False where the lease is lost."""

    async def all(self) -> list[StoredSchedule]: ...

    async def add(self, name: str, timetable: Timetable, since: float) -> None:
        """A schedule that nobody knew; where somebody does, nothing changes."""
        ...

    async def take(self, name: str, worker: str, lease_s: float) -> StoredSchedule | None:
        """With a lease of it; None where another one has that."""
        ...

    async def renew(self, name: str, epoch: int, lease_s: float) -> bool:
        """The lease goes on from now for so long."""
        ...

    async def leave(self, name: str, epoch: int) -> bool: ...

    async def decide(
        self, name: str, epoch: int, run: ScheduledRun, work: NewWork | None = None
    ) -> bool:
        """The place moves to the run's instant, and what is begun is in the store. A job for which
        its user's line is full is not: the run says so then."""
        ...

    async def change(self, name: str, epoch: int, timetable: Timetable, at: float) -> bool:
        """From ``at`` on it goes by another timetable; instants up to then are decided."""
        ...

    async def explain(self, name: str, epoch: int, why: str) -> bool: ...

    async def run_at(self, name: str, instant: float) -> ScheduledRun | None: ...

    async def alive(self, name: str) -> str:
        """The id of what it has begun and has not ended; empty: nothing."""
        ...

    async def runs(self, name: str, most: int) -> list[ScheduledRun]:
        """The newest first."""
        ...

    async def prune(self, forget_s: float) -> None:
        """Drops runs of instants so long ago."""
        ...

    async def aclose(self) -> None: ...
