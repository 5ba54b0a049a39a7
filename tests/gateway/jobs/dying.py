"""Gateways that die at a chosen step: from then on nothing that they ask is done any more."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from adapters.base import Backend
from adapters.errors import BackendError, FailureClass
from adapters.fake import FakeSettings
from adapters.types import Call, Handle, JobState, Reply, Usage
from gateway.app import build_gateway, running
from gateway.clock import FakeClock
from gateway.events.attempts import Receiver, ReceiverAnswer
from gateway.policy.model import BackendSpec
from gateway.service import Gateway
from gateway.storage.base import (
    Admitted,
    Claim,
    Counted,
    LedgerRow,
    MaybeWritten,
    Refused,
    StorageUnavailable,
)
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.memory import MemorySharedStore
from gateway.storage.outbox_statements import Statement
from gateway.storage.sql_outbox import Rows, SqlOutbox
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.types import MICRO, Unit
from gateway.warm.kept import FileKept
from tests.gateway.assembled import PATIENCE_S, read
from tests.gateway.events.receivers import SECRET
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.gateways import TELLS, JobsGateway
from tests.gateway.jobs.platforms import FakePlatform, PlatformBackend

T = TypeVar("T")
Moment = Literal["before", "after"]


class Fuse:
    """Blows at one step of a gateway, before it is done or after, when its answer is lost.
    ``at`` counts from 1, once it is armed; 0: never."""

    def __init__(self, at: int = 0, moment: Moment = "before") -> None:
        self.at = at
        self.moment = moment
        self.steps: list[str] = []
        self.armed = False
        self.blown = asyncio.Event()

    async def around(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        if not self.armed:
            return await work()
        if self.blown.is_set():
            await asyncio.Event().wait()
        self.steps.append(name)
        is_last = len(self.steps) == self.at
        if is_last and self.moment == "before":
            await self._die()
        done = await work()
        if is_last:
            await self._die()
        return done

    async def read(self, work: Callable[[], Awaitable[T]]) -> T:
        """A question that changes nothing is no step."""
        return await work()

    async def _die(self) -> None:
        self.blown.set()
        await asyncio.Event().wait()


Side = Literal["store", "shared", "backend"]


class Outage(Fuse):
    """One neighbour of a gateway is away for some seconds, from one of its steps on, which was not
    done, or done and its answer lost; it counts the steps of that neighbour alone."""

    def __init__(
        self, at: int, moment: Moment, side: Side, clock: FakeClock, lasts_s: float = 4.0
    ) -> None:
        super().__init__(at, moment)
        self._side = side
        self._clock = clock
        self._lasts_s = lasts_s
        self._until = -math.inf

    @property
    def is_away(self) -> bool:
        return self._clock.monotonic() < self._until

    async def around(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        if not self.armed or _side_of(name) != self._side:
            return await work()
        if self.is_away:
            raise _away(name, "before")
        self.steps.append(name)
        if len(self.steps) != self.at:
            return await work()
        self._until = self._clock.monotonic() + self._lasts_s
        if self.moment == "after":
            await work()
        raise _away(name, self.moment)

    async def read(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._side == "store" and self.is_away:
            raise StorageUnavailable("it is away")
        return await work()


def _side_of(name: str) -> Side | None:
    if name.startswith(("store", "ledger")):
        return "store"
    if name.startswith("shared"):
        return "shared"
    return None if name == "post" else "backend"


def _away(name: str, moment: Moment) -> Exception:
    """What a step of that name raises."""
    lost = moment == "after"
    if name.startswith("ledger") and lost:
        return MaybeWritten("its answer was lost")
    if _side_of(name) != "backend":
        return StorageUnavailable("it is away")
    if lost and name in ("invoke", "submit"):
        return BackendError(FailureClass.AMBIGUOUS, "its answer was lost")
    return BackendError(FailureClass.UNREACHABLE, "nobody answers")


class DyingStatements(SqliteStatements):
    fuse: Fuse

    async def run(self, batch: Sequence[Statement], *, apart: bool = False) -> list[Rows]:
        reads = all(sql.startswith("SELECT") for sql, _ in batch)
        run = super().run
        if reads:
            return await self.fuse.read(lambda: run(batch))
        return await self.fuse.around(f"store: {batch[-1][0][:40]}", lambda: run(batch))


class DyingLedger(SqliteLedger):
    fuse: Fuse

    async def open(self, row: LedgerRow) -> None:
        write = super().open
        await self.fuse.around("ledger: open", lambda: write(row))

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        settle = super().settle
        await self.fuse.around("ledger: settle", lambda: settle(rows))


class DyingShared(MemorySharedStore):
    fuse: Fuse

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        admit = super().admit
        return await self.fuse.around("shared: admit", lambda: admit(hold_id, claims, ttl_s))

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        settle = super().settle
        return await self.fuse.around("shared: settle", lambda: settle(hold_id, claims, actual))

    async def release(self, hold_id: str) -> None:
        release = super().release
        await self.fuse.around("shared: release", lambda: release(hold_id))

    async def restore(self, spent: Iterable[Counted]) -> None:
        await super().restore(spent)


class DyingBackend(PlatformBackend):
    fuse: Fuse

    async def invoke(self, call: Call) -> Reply:
        invoke = super().invoke
        return await self.fuse.around("invoke", lambda: invoke(call))

    async def submit(self, call: Call) -> Handle:
        submit = super().submit
        return await self.fuse.around("submit", lambda: submit(call))

    async def poll(self, handle: Handle) -> JobState:
        poll = super().poll
        return await self.fuse.around("poll", lambda: poll(handle))

    async def stop(self, handle: Handle) -> Usage | None:
        stop = super().stop
        return await self.fuse.around("stop", lambda: stop(handle))


class _LocalBackend(DyingBackend):
    """One of this machine: it has no jobs."""

    submit = poll = stop = None  # type: ignore[assignment]


class DyingClient:
    """Sends by ``told``, which whoever comes next sends by as well."""

    def __init__(self, told: PlayedClient, fuse: Fuse) -> None:
        self._told = told
        self._fuse = fuse

    async def post(self, target: Receiver, headers: dict[str, str], body: str) -> ReceiverAnswer:
        return await self._fuse.around("post", lambda: self._told.post(target, headers, body))

    async def aclose(self) -> None:
        return None


def _built(
    folder: Path,
    clock: FakeClock,
    platform: FakePlatform,
    fuse: Fuse,
    told: PlayedClient,
    text: str,
) -> tuple[Gateway, SqliteLedger]:
    path = folder / "ledger.db"

    def make(spec: BackendSpec) -> Backend:
        assert isinstance(spec.settings, FakeSettings)
        kind = DyingBackend if spec.name == "cloud" else _LocalBackend
        backend = kind(spec.name, spec.settings, clock, platform)
        backend.fuse = fuse
        return backend

    def statements() -> DyingStatements:
        made = DyingStatements(path, now_us=lambda: round(clock.time() * MICRO))
        made.fuse = fuse
        return made

    ledger = DyingLedger(path, clock=clock, write_timeout_s=PATIENCE_S)
    shared = DyingShared(clock)
    ledger.fuse = shared.fuse = fuse
    gateway = build_gateway(
        read(text, {"SECRET": SECRET}),
        clock=clock,
        keys=SqliteKeys(folder / "keys.db", clock=clock),
        ledger=ledger,
        shared=shared,
        make_backend=make,
        load=lambda: read(text, {"SECRET": SECRET}),
        random_source=random.Random(7),
        kept_workers=FileKept(folder / "kept-workers.json"),
        jobs=SqlJobs(statements()),
        outbox=SqlOutbox(statements()),
        client=lambda: DyingClient(told, fuse),
    )
    return gateway, ledger


@contextlib.asynccontextmanager
async def dying(
    folder: Path,
    clock: FakeClock,
    platform: FakePlatform,
    fuse: Fuse,
    told: PlayedClient,
    text: str = TELLS,
    also: Callable[[Gateway], None] = lambda _: None,
) -> AsyncIterator[JobsGateway]:
    """A gateway that is gone at the end of the block, without a farewell. The fuse is armed by
    whoever has it; what blows it leaves the block by itself. ``also``: what else it serves."""
    before = asyncio.all_tasks()
    gateway, ledger = _built(folder, clock, platform, fuse, told, text)
    also(gateway)
    started = asyncio.Event()
    living = asyncio.ensure_future(_live(gateway, started))
    try:
        await started.wait()
        yield JobsGateway(gateway, clock, platform)
    finally:
        fuse.armed = True
        fuse.blown.set()
        while tasks := asyncio.all_tasks() - before - {_current()}:
            await _end(tasks)
        assert living.done()
        await SqliteLedger.aclose(ledger)


async def _live(gateway: Gateway, started: asyncio.Event) -> None:
    async with running(gateway):
        started.set()
        await asyncio.Event().wait()


def _current() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _end(tasks: set[asyncio.Task[object]]) -> None:
    """As a killed process ends: whatever they would still do is done to nobody."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=0.01)
