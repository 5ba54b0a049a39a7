"""The ledger as a place outside all processes: a file that threads of theirs write, or a server.

What it keeps survives every process, and nothing that was not written does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

from gateway.clock import Clock
from gateway.money.text import iso
from gateway.storage.base import LedgerRow, MaybeWritten, StorageUnavailable
from gateway.storage.queries import CallsQuery, UsageQuery, UsageReport, UsageRow
from gateway.storage.spent import Side, Spent, SpentQuery
from gateway.types import MICRO
from tests.simulation.jobs.database import Database
from tests.simulation.loop import Process
from tests.simulation.network import Link, Server

T = TypeVar("T")

LEASE_S = 15.0
_BEAT_S = 3.0
_READS_S = 0.3

LedgerKind = Literal["file", "server"]


class LedgerServer:
    """``settled`` and ``opened`` by id, the latter with whose they are. A file sees at once who is
    dead; a server when no word has come for a lease."""

    def __init__(self, server: Server, clock: Clock, kind: LedgerKind) -> None:
        self.server = server
        self.clock = clock
        self.kind = kind
        self.settled: dict[str, LedgerRow] = {}
        self.opened: dict[str, tuple[str, LedgerRow]] = {}
        self.refuses = False
        """The disk is full."""
        self.beats: dict[str, float] = {}
        """When each owner last said that it lives."""
        self.dead: set[str] = set()
        """Owners whose process is gone, which a file shows."""
        self.taken: set[str] = set()
        """Ids of rows that were taken from an owner who was taken for dead."""
        self.doubled: list[str] = []
        """Ids of which a second settlement said something else."""
        self.database = Database(clock, self.check)
        """What jobs and messages need of it."""
        self.has_jobs = False

    def heal(self) -> None:
        """Nothing is wrong with it any more; nobody is dead for not having reached it."""
        self.server.heal()
        self.refuses = False
        now = self.server.loop.time()
        self.beats = {name: now if at > 0 else at for name, at in self.beats.items()}

    def open(self, owner: str, row: LedgerRow) -> None:
        """Raises ValueError as a ledger does, and StorageUnavailable while it refuses."""
        self.check()
        _, known = self.opened.get(row.id, ("", row))
        if row.id in self.settled or _call_of(known) != _call_of(row):
            raise ValueError(f"the id {row.id} is taken")
        if not self.has_jobs or self.database.opened(owner, row):
            self.opened[row.id] = (owner, row)

    def settle(self, rows: Iterable[LedgerRow]) -> None:
        """Raises StorageUnavailable while it refuses."""
        self.check()
        for row in rows:
            self.opened.pop(row.id, None)
            first = self.settled.setdefault(row.id, row)
            if self.has_jobs:
                self.database.settled(row)
            if (first.outcome, first.cost_nano) != (row.outcome, row.cost_nano):
                self.doubled.append(row.id)

    def check(self) -> None:
        """Raises StorageUnavailable while it refuses."""
        if self.refuses:
            raise StorageUnavailable("the disk is full")

    def beat(self, owner: str) -> None:
        """It lives."""
        self.beats[owner] = self.server.loop.time()

    def take(self, owner: str) -> list[LedgerRow]:
        """The open rows of those who are gone are this owner's from now on."""
        now, taken = self.server.loop.time(), []
        over = {name for name, at in self.beats.items() if now - at >= LEASE_S} - {owner}
        gone = self.dead if self.kind == "file" else over
        for name in over if self.kind == "server" else ():
            del self.beats[name]
        for id, (whose, row) in self.opened.items():
            if whose in gone or (whose == owner and id in self.taken):
                if self.kind == "server":
                    self.taken.add(id)
                    self.opened[id] = (owner, row)
                taken.append(row)
        return taken


class LedgerLink:
    """A ``Ledger`` of one process."""

    identity = "the ledger"

    def __init__(self, ledger: LedgerServer, process: Process, timeout_s: float) -> None:
        self._ledger = ledger
        self._owner = process.name
        self._timeout_s = timeout_s
        is_file = ledger.kind == "file"
        self._link = Link(ledger.server, process, timeout_s, in_process=is_file)
        self._tending: asyncio.Task[None] | None = None
        self.failing = ""

    async def _tend(self) -> None:
        """Says that this process lives, and finds out that what failed is well again."""
        while True:
            await self._ledger.clock.sleep(_BEAT_S if not self.failing else 1.0)
            with contextlib.suppress(StorageUnavailable):
                await self._write(self._ledger.check)

    async def open(self, row: LedgerRow) -> None:
        await self._write(lambda: self._ledger.open(self._owner, row))

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        kept = tuple(rows)
        await self._write(lambda: self._ledger.settle(kept))

    async def _write(self, work: Callable[[], None]) -> None:
        """Sent again where a connection broke, as long as there is time."""
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend())
        clock = self._ledger.clock
        until = clock.monotonic() + self._timeout_s
        while True:
            try:
                await self._link.ask(lambda: self._alive(work))
            except MaybeWritten as unavailable:
                if self._ledger.kind == "file" or clock.monotonic() >= until:
                    self.failing = str(unavailable)
                    raise
                await clock.sleep(0.02)
            except StorageUnavailable as unavailable:
                self.failing = str(unavailable)
                raise
            else:
                self.failing = ""
                return

    def _alive(self, work: Callable[[], T]) -> T:
        """Whoever does anything says so."""
        self._ledger.beat(self._owner)
        return work()

    async def open_rows(self) -> list[LedgerRow]:
        return await self._read(lambda: [row for _, row in self._ledger.opened.values()])

    async def take_abandoned(self) -> list[LedgerRow]:
        return await self._read(lambda: self._ledger.take(self._owner))

    async def _read(self, work: Callable[[], T]) -> T:
        return await self._link.ask(lambda: self._alive(work))

    async def usage(self, query: UsageQuery) -> UsageReport:
        return await self._read(lambda: _report(self._ledger.settled.values(), query))

    async def calls(self, query: CallsQuery) -> list[LedgerRow]:
        raise NotImplementedError

    async def rows(self, request_id: str) -> list[LedgerRow]:
        def work() -> list[LedgerRow]:
            found = [
                *self._ledger.settled.values(),
                *(row for _, row in self._ledger.opened.values()),
            ]
            mine = [row for row in found if row.id.partition("#")[0] == request_id]
            return sorted(mine, key=lambda row: (len(row.id), row.id))

        return await self._read(work)

    async def spent_since(
        self, since: float, *, side: Side = "callers", step_us: int = 0
    ) -> list[Spent]:
        """A row tells both sides, of which each asks for its own."""
        return await self._read(lambda: _spent(self._ledger.settled.values(), since, step_us))

    async def sums(
        self,
        queries: Sequence[SpentQuery],
        still: Callable[[], contextlib.AbstractAsyncContextManager[None]],
    ) -> list[list[Spent]]:
        """Takes its time when it has seen the rows."""

        def work() -> list[list[Spent]]:
            rows = self._ledger.settled.values()
            return [_spent(rows, one.since, one.step_us) for one in queries]

        async with still():
            found = await self._read(work)
        await self._ledger.clock.sleep(_READS_S)
        return found

    async def calls_since(self, since: float) -> dict[tuple[str, int], int]:
        def work() -> dict[tuple[str, int], int]:
            rows = (row for row in self._ledger.settled.values() if row.kind == "call")
            return Counter((row.model, int(row.started_at // 3600)) for row in rows)

        return await self._read(work)

    async def aclose(self) -> None:
        """In good order: what is left open is free to be taken."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait((self._tending,))
        self._ledger.dead.add(self._owner)
        self._ledger.beats[self._owner] = -LEASE_S


def _call_of(row: LedgerRow) -> tuple[str, str, float]:
    return row.key_id, row.user, row.started_at


def _spent(rows: Iterable[LedgerRow], since: float, step_us: int) -> list[Spent]:
    """One of each row: sums are whoever asks to make."""
    return [
        Spent(
            key_id=row.key_id,
            user=row.user,
            plan=row.plan,
            tags=row.tags,
            model=row.model,
            backend=row.backend,
            step=round(row.started_at * MICRO) // step_us if step_us else 0,
            calls=int(row.kind == "call"),
            gpu_us=row.gpu_us,
            nano_usd=row.cost_nano,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
        )
        for row in rows
        if row.started_at >= since and row.kind != "idle"
    ]


_GROUPS: dict[str, Callable[[LedgerRow], str]] = {
    "model": lambda row: row.model,
    "user": lambda row: row.user,
    "kind": lambda row: row.kind,
    "backend": lambda row: row.backend,
    "reason": lambda row: row.reason,
    "hour": lambda row: iso(int(row.started_at) // 3600 * 3600, "minutes"),
}


def _report(rows: Iterable[LedgerRow], query: UsageQuery) -> UsageReport:
    """What the gateway asks for itself; people's reports are no part of a simulation."""
    groups: defaultdict[tuple[str, ...], list[LedgerRow]] = defaultdict(list)
    for row in rows:
        if not (query.since or 0.0) <= row.started_at < (query.until or float("inf")):
            continue
        if all(_GROUPS[name](row) == value for name, value in query.where.items()):
            groups[tuple(_GROUPS[name](row) for name in query.group_by)].append(row)
    return UsageReport(
        rows=[
            _sum(dict(zip(query.group_by, group, strict=True)), found)
            for group, found in groups.items()
        ]
    )


def _sum(group: dict[str, str], rows: list[LedgerRow]) -> UsageRow:
    return UsageRow(
        group=group,
        calls=sum(row.kind == "call" for row in rows),
        errors=sum(row.outcome == "error" for row in rows),
        cold_starts=sum(row.cold_us > 0 for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        queue_us=sum(row.queue_us for row in rows),
        cold_us=sum(row.cold_us for row in rows),
        exec_us=sum(row.exec_us for row in rows),
        gpu_us=sum(row.gpu_us for row in rows),
        cost_nano=sum(row.cost_nano for row in rows),
    )
