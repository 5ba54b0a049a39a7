"""Batches in a database of whatever kind: statements out, rows in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.storage.batches import statements
from gateway.storage.batches.base import (
    BatchesQuery,
    BatchProgress,
    BatchState,
    EndedLine,
    FedLine,
    StoredBatch,
)
from gateway.storage.rows import decode_open
from gateway.storage.sql_outbox import SqlTables
from gateway.types import MICRO


class SqlBatches(SqlTables):
    """A ``BatchStore`` over a connection to the ledger's database."""

    async def add(self, batch: StoredBatch) -> None:
        await self._one(statements.add(batch))

    async def get(self, id: str) -> StoredBatch | None:
        found = await self._one(statements.get(id))
        return _batch(found[0]) if found else None

    async def find(self, query: BatchesQuery) -> list[StoredBatch]:
        return [_batch(row) for row in await self._one(statements.find(query))]

    async def uses(self, file: str) -> bool:
        return await self._done(statements.uses(file))

    # --- leases -------------------------------------------------------------------------------

    async def take(self, worker: str, most: int, lease_s: float) -> list[StoredBatch]:
        return [_batch(row) for row in await self._one(statements.take(worker, most, lease_s))]

    async def renew(self, worker: str, ids: Sequence[str], lease_s: float) -> dict[str, bool]:
        if not ids:
            return {}
        asked = statements.renew(worker, ids, lease_s)
        _, found = await self._connection.run(asked, apart=True)
        return {id: canceling_at is not None for id, canceling_at in found}

    async def leave(self, id: str, epoch: int) -> bool:
        return await self._done(statements.leave(id, epoch))

    async def cancel(self, id: str) -> bool:
        return await self._done(statements.cancel(id))

    # --- the way of one -----------------------------------------------------------------------

    async def begin(self, id: str, epoch: int, total: int) -> bool:
        return await self._done(statements.begin(id, epoch, total))

    async def refuse(self, id: str, epoch: int, faults: str) -> bool:
        return await self._done(statements.refuse(id, epoch, faults))

    async def feed(
        self, id: str, epoch: int, batch: StoredBatch, fed: Sequence[FedLine], to: tuple[int, int]
    ) -> bool:
        return bool((await self._connection.run(statements.feed(id, epoch, batch, fed, to)))[0])

    async def explain(self, id: str, epoch: int, why: str) -> bool:
        return await self._done(statements.explain(id, epoch, why))

    async def progress(self, id: str) -> BatchProgress:
        by_state, refused = await self._connection.run(statements.progress(id))
        counts = {state: count for state, count, _ in by_state}
        return BatchProgress(counts, int(refused[0][0]), sum(cost for _, _, cost in by_state))

    async def waiting(self, id: str) -> int:
        return int((await self._one(statements.waiting(id)))[0][0])

    async def with_budgets(self) -> list[StoredBatch]:
        return [_batch(row) for row in await self._one(statements.WITH_BUDGETS)]

    async def committed(self, id: str) -> int:
        held, settled, ended = await self._connection.run(statements.committed(id))
        open_nano = sum(decode_open((entry,)).hold_nano for (entry,) in held)
        return open_nano + int(settled[0][0]) + int(ended[0][0])

    async def stop_lines(self, id: str) -> None:
        await self._one(statements.stop_lines(id))

    async def finalize(self, id: str, epoch: int, why: str) -> bool:
        return await self._done(statements.finalize(id, epoch, why))

    async def lines(self, id: str, after: int, most: int) -> list[EndedLine]:
        return [
            EndedLine(
                number=number,
                custom_id=custom_id,
                fault=fault,
                job=job,
                state=state,
                answer=answer,
                error=error,
            )
            for number, custom_id, fault, job, state, answer, error in await self._one(
                statements.lines(id, after, most)
            )
        ]

    async def end(
        self,
        id: str,
        epoch: int,
        state: BatchState,
        *,
        files: tuple[str, str],
        counts: tuple[int, int],
        why: str,
    ) -> bool:
        return await self._done(statements.end(id, epoch, state, files, counts, why))

    async def prune(self, forget_s: float, most: int) -> int:
        return len((await self._connection.run(statements.prune(forget_s, most)))[1])


def _batch(row: Sequence[Any]) -> StoredBatch:
    found = dict(zip(statements.COLUMNS, row, strict=True))
    for name in ("created_at", "deadline_at", "begun_at", "canceling_at", "finalizing_at"):
        found[name] = _instant(found[name])
    found["ended_at"] = _instant(found["ended_at"])
    found["user"], found["deadline"] = found.pop("caller"), found.pop("deadline_at")
    return StoredBatch(**found)


def _instant(us: int | None) -> float | None:
    return None if us is None else us / MICRO
