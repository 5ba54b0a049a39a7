"""Jobs in a database of whatever kind: statements out, rows in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gateway.storage.base import LedgerRow
from gateway.storage.jobs import leases, statements
from gateway.storage.jobs.base import (
    LOWEST,
    NOTHING_OWED,
    WAITS_IN_STORE,
    HeldJob,
    JobEvent,
    JobsQuery,
    KnownJob,
    LineFull,
    MovedJob,
    NewJob,
    StoredJob,
    WaitingJobs,
)
from gateway.storage.jobs.states import JobState
from gateway.storage.jobs.words import LIGHT
from gateway.storage.outbox import Message
from gateway.storage.outbox_statements import Statement
from gateway.storage.rows import decode_open, encode_open
from gateway.storage.sql_outbox import SqlTables
from gateway.types import MICRO


class SqlJobs(SqlTables):
    """A ``JobStore`` over a connection to the ledger's database."""

    # --- what callers ask ---------------------------------------------------------------------

    async def accept(self, job: NewJob, row: LedgerRow) -> KnownJob:
        entry = encode_open(row, WAITS_IN_STORE)
        known = (await self._connection.run(statements.accept(job, entry)))[-1]
        if not known:
            raise LineFull
        return KnownJob(*known[0])

    async def named(self, idempotency: str) -> KnownJob | None:
        found = await self._one(statements.named(idempotency))
        return KnownJob(*found[0]) if found else None

    async def get(self, id: str) -> StoredJob | None:
        found = await self._one(statements.get(id))
        return _job(found[0]) if found else None

    async def glance(self, id: str) -> StoredJob | None:
        found = await self._one(statements.glance(id))
        return _light(found[0]) if found else None

    async def find(self, query: JobsQuery) -> list[StoredJob]:
        return [_light(row) for row in await self._one(statements.find(query))]

    async def ahead(self, id: str) -> int:
        return int((await self._one(statements.ahead(id)))[0][0])

    async def cancel(self, id: str) -> bool:
        return await self._done(statements.cancel(id))

    async def events(self, id: str, after: int, most: int = 500) -> list[JobEvent]:
        return [
            JobEvent(number, job, at / MICRO, kind, data)
            for number, job, at, kind, data in await self._one(statements.events(id, after, most))
        ]

    # --- leases -------------------------------------------------------------------------------

    async def queued(self) -> dict[str, int]:
        return dict(map(tuple, await self._one(leases.QUEUED)))

    async def waiting(self, full: Collection[str] = ()) -> list[WaitingJobs]:
        found = await self._one(leases.waiting(full))
        return [
            WaitingJobs(model, int(jobs), first / MICRO, last / MICRO)
            for model, jobs, first, last in found
        ]

    async def take(
        self,
        worker: str,
        model: str,
        most: int,
        lease_s: float,
        full: Collection[str] = (),
        least_rank: int = LOWEST,
        owed: Mapping[tuple[int, str], float] = NOTHING_OWED,
    ) -> list[StoredJob]:
        statement = leases.take(worker, model, most, lease_s, full, least_rank, owed)
        return await self._taken(statement)

    async def take_over(self, worker: str, most: int, lease_s: float) -> list[StoredJob]:
        return await self._taken(leases.take_over(worker, most, lease_s))

    async def take_one(self, worker: str, id: str, lease_s: float) -> StoredJob | None:
        found = await self._taken(leases.take_one(worker, id, lease_s))
        return found[0] if found else None

    async def _taken(self, statement: Statement) -> list[StoredJob]:
        jobs = map(_job, await self._one(statement))
        return sorted(jobs, key=lambda job: (-job.rank, job.created_at, job.id))

    async def renew(self, worker: str, ids: Sequence[str], lease_s: float) -> dict[str, bool]:
        if not ids:
            return {}
        asked = leases.renew(worker, ids, lease_s)
        _, found = await self._connection.run(asked, apart=True)
        return {id: bool(cancel) for id, cancel in found}

    async def leave(self, id: str, epoch: int) -> bool:
        return await self._done(statements.leave(id, epoch))

    # --- the way of one -----------------------------------------------------------------------

    async def move(
        self, id: str, epoch: int, to: JobState, *, attempt: str | None = None
    ) -> MovedJob | None:
        moved = (await self._connection.run(statements.move(id, epoch, to, attempt)))[-1]
        return MovedJob(_instant(moved[0][0])) if moved else None

    async def answer(self, id: str, epoch: int, answer: str) -> bool:
        return await self._done(statements.answer(id, epoch, answer))

    async def put_back(
        self, id: str, epoch: int, pause_s: float, *, attempt: str = "", error: str = ""
    ) -> bool:
        batch = statements.put_back(id, epoch, pause_s, attempt, error)
        return bool((await self._connection.run(batch))[-1])

    async def end(
        self,
        id: str,
        epoch: int,
        state: JobState,
        *,
        ended_at: float,
        error: str = "",
        message: Message | None = None,
    ) -> bool:
        batch = statements.end(id, epoch, state, ended_at, error, message)
        return bool((await self._connection.run(batch))[0])

    async def cost(self, id: str) -> int:
        return int((await self._one(statements.cost(id)))[0][0])

    async def note(self, id: str, kind: str, data: str) -> None:
        await self._one(statements.note(id, kind, data))

    # --- all of them --------------------------------------------------------------------------

    async def holding(self) -> Mapping[str, HeldJob]:
        found = await self._one(statements.HOLDING)
        return {id: HeldJob(request, decode_open((entry,))) for id, request, entry in found}

    async def prune(self, forget_s: float, most: int) -> int:
        dropped, _, gone = await self._connection.run(statements.prune(forget_s, most))
        return len(dropped) + len(gone)


def _job(row: Sequence[Any]) -> StoredJob:
    """A row of all columns, and the open row behind them."""
    *light, request, answer, entry = row
    opened = None if entry is None else decode_open((entry,))
    return _light(light, request=request, answer=answer, row=opened)


def _light(values: Sequence[Any], **more: Any) -> StoredJob:
    found = dict(zip(LIGHT, values, strict=True))
    return StoredJob(
        id=found["id"],
        state=found["state"],
        model=found["model"],
        task=found["task"],
        key_id=found["key_id"],
        user=found["caller"],
        rank=found["rank"],
        created_at=found["created_at"] / MICRO,
        deadline=found["deadline_at"] / MICRO,
        keep_s=found["keep_us"] / MICRO,
        started_at=_instant(found["started_at"]),
        ended_at=_instant(found["ended_at"]),
        epoch=found["epoch"],
        canceling=bool(found["cancel"]),
        cost_nano=found["cost_nano"],
        webhook=found["webhook"],
        attempt=found["attempt"],
        error=found["error"],
        **more,
    )


def _instant(us: int | None) -> float | None:
    return None if us is None else us / MICRO
