"""Group commit: one task owns the connection that writes and sends all that waits, at once.

A call alone is sent at once; what comes while a group is under way is the next one. A group is one
statement, and so one transaction. Where a connection breaks, or the server does not answer, nobody
can say whether the last group was committed: it is sent again, for a row is written only once by
its id; but not before the server has ended the session that had it, so that nothing of it comes
later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import asyncpg

from gateway.clock import Clock, Timer
from gateway.storage.base import MaybeWritten, StorageUnavailable
from gateway.storage.postgres.connections import FAILURES, LOST, Connection
from gateway.storage.postgres.rows import (
    FIND_OPEN,
    OPEN,
    OPEN_AND_SETTLE,
    REOPEN,
    SETTLE,
    columns,
    without_nul,
)
from gateway.storage.rows import Encoded, same_call

BATCH_ROWS = 256
"""A larger group saves little more, and makes its first row wait."""

_AGAIN_S = 0.05
"""Between two tries to reach a server, while somebody waits."""

BAD_ROW = (
    asyncpg.DataError,
    asyncpg.exceptions.DataError,
    asyncpg.IntegrityConstraintViolationError,
    UnicodeEncodeError,
    OverflowError,
)
"""What one bad row raises; all else is about the server that holds all rows."""
CROSSED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)

Connect = Callable[[], Awaitable[Connection]]
Step = Callable[[Connection], Awaitable[None]]


class _Write:
    """Rows of one caller, which are written together. No rows: only try whether the server
    writes."""

    __slots__ = ("alone", "deadline", "done", "opening", "rows", "sent")

    def __init__(
        self, rows: Sequence[Encoded], opening: bool, done: asyncio.Future[None], deadline: float
    ) -> None:
        self.rows = rows
        self.opening = opening
        self.done = done
        self.deadline = deadline
        self.sent = False
        self.alone = False
        """It may be at fault for what befell a group."""

    @property
    def abandoned(self) -> bool:
        """Nobody waits, and it is not a settlement whose caller was merely cancelled."""
        return self.done.done() and (self.opening or not self.done.cancelled())

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # whoever was cancelled meanwhile does not ask for it


class PostgresWriter:
    """Belongs to one event loop.

    ``connect``  a new connection, ready to write. Raises ``FAILURES`` or StorageUnavailable.
    ``alive``    tells the server that this gateway is alive: a write of its own.
    ``reason``   says on one line why the server cannot be used.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        alive: Step,
        reason: Callable[[BaseException], str],
        clock: Clock,
        max_waiting: int,
        timeout_s: float,
    ) -> None:
        self._connect = connect
        self._alive = alive
        self._reason = reason
        self._clock = clock
        self._max_waiting = max_waiting
        self._timeout_s = timeout_s
        self._waiting: deque[_Write] = deque()
        self._under_way: list[_Write] = []
        self._wake = asyncio.Event()
        self._timer: Timer | None = None
        self._working: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._session: tuple[int, Any] | None = None
        """The server's number for the session of the connection, and when it began."""
        self._lost: tuple[int, Any] | None = None
        """That of a session which may still be at work."""
        self._closed = False
        self.failing = ""
        """Why the last write failed; empty while writes succeed."""

    # --- what callers ask -----------------------------------------------------------------------

    def submit(self, rows: Sequence[Encoded], *, opening: bool = False) -> asyncio.Future[None]:
        """Done when the rows are durable. Fails with StorageUnavailable, or ValueError for rows
        that can never be written; raises StorageUnavailable where no more may wait. ``opening``: a
        row whose id is taken can never be written."""
        if self._closed:
            raise StorageUnavailable("the ledger is closed")
        if len(self._waiting) >= self._max_waiting:
            raise StorageUnavailable(f"{self._max_waiting} writes wait for the ledger already")
        if self._working is None:
            self._working = asyncio.create_task(self._work(), name="ledger-writer")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(rows, opening, done, self._clock.monotonic() + self._timeout_s))
        self._wake.set()
        if self._timer is None:
            self._timer = self._clock.call_later(self._timeout_s, self._expire)
        return done

    @property
    def idle(self) -> bool:
        """Nothing waits to be written."""
        return not self._waiting and not self._under_way

    async def aclose(self, last: Step) -> None:
        """Writes what waits, no longer than the time-out, does ``last``, then closes."""
        if self._closed:
            return
        self._closed = True
        if self._working is not None:
            self._wake.set()
            await asyncio.wait((self._working,), timeout=self._timeout_s)
            self._working.cancel()
            await asyncio.wait((self._working,))
        if self._timer is not None:
            self._timer.cancel()
        for write in (*self._under_way, *self._waiting):
            write.fail(self._unavailable(write, "the ledger is closed"))
        await self._say_goodbye(last)

    async def _say_goodbye(self, last: Step) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(self._timeout_s):
                await last(connection)
                await connection.close()
        connection.terminate()

    # --- the bound ------------------------------------------------------------------------------

    def _expire(self) -> None:
        """Tells whoever has waited for too long; one timer serves all."""
        self._timer = None
        now = self._clock.monotonic()
        why = self.failing or f"the ledger has not answered for {self._timeout_s:g} s"
        for write in self._under_way:
            if write.deadline <= now:
                self.failing = why
                write.fail(self._unavailable(write, why))
        while self._waiting and self._waiting[0].deadline <= now:
            self.failing = why
            write = self._waiting.popleft()
            write.fail(self._unavailable(write, why))
        deadlines = [write.deadline for write in self._under_way if not write.done.done()]
        if self._waiting:
            deadlines.append(self._waiting[0].deadline)
        if deadlines:
            self._timer = self._clock.call_later(min(deadlines) - now, self._expire)

    @staticmethod
    def _unavailable(write: _Write, why: str) -> StorageUnavailable:
        return MaybeWritten(why) if write.sent else StorageUnavailable(why)

    # --- the task -------------------------------------------------------------------------------

    async def _work(self) -> None:
        while not (self._closed and not self._waiting):
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            connection = await self._reached()
            if connection is not None:
                await self._write(connection, self._next())

    def _next(self) -> list[_Write]:
        batch: list[_Write] = []
        rows = 0
        while self._waiting and rows < BATCH_ROWS:
            if batch and (batch[-1].alone or self._waiting[0].alone):
                break
            write = self._waiting.popleft()
            if not write.abandoned:
                batch.append(write)
                rows += len(write.rows)
        return batch

    async def _reached(self) -> Connection | None:
        """The connection, made anew where it is lost; None after a try that failed."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        self._leave()
        try:
            self._connection = await self._connect()
            async with asyncio.timeout(self._timeout_s):
                await self._end_of(self._lost, self._connection)
                self._session = tuple(await self._connection.fetchrow(_SESSION))
        except (StorageUnavailable, *FAILURES) as error:
            self.failing = self._reason(error)
            self._leave()
            await self._clock.sleep(_AGAIN_S)
            return None
        self._lost = None
        return self._connection

    async def _end_of(self, session: tuple[int, Any] | None, connection: Connection) -> None:
        """Returns when the server has ended a session, and with it what was under way there."""
        while session is not None and await connection.fetch(_END, *session):
            await self._clock.sleep(0.01)

    def _leave(self) -> None:
        """Gives the connection up. What is under way there is not known to be done, nor undone."""
        if self._session is not None:
            self._lost, self._session = self._session, None
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _write(self, connection: Connection, batch: list[_Write]) -> None:
        self._under_way = batch
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._commit(connection, batch)
        except asyncpg.ForeignKeyViolationError:  # this gateway was taken for dead
            await self._begin_again(connection, batch)
        except CROSSED:
            self._again(batch)
        except BAD_ROW as error:
            self._find_fault(batch, error)
        except LOST as error:
            self.failing = self._reason(error)
            self._leave()
            self._again(batch)
        except asyncpg.PostgresError as error:  # such as a full disk: nothing of it was written
            self.failing = self._reason(error)
            _fail_all(batch, StorageUnavailable(self.failing))
        finally:
            self._under_way = []

    def _again(self, batch: Iterable[_Write]) -> None:
        """They wait again, before all others, for as long as they would have."""
        now = self._clock.monotonic()
        waiting = [write for write in batch if not write.abandoned]
        for write in waiting:
            if write.deadline <= now:
                write.fail(self._unavailable(write, self.failing))
        self._waiting.extendleft(write for write in reversed(waiting) if not write.abandoned)

    async def _begin_again(self, connection: Connection, batch: list[_Write]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._alive(connection)
        except FAILURES as error:
            self.failing = self._reason(error)
            self._leave()
        self._again(batch)

    def _find_fault(self, batch: list[_Write], error: Exception) -> None:
        """One row of the batch is at fault: the others must not suffer for it, so each is sent by
        itself."""
        for write in batch:
            if not write.alone:
                write.alone = True
                continue
            rows = without_nul(write.rows)
            if rows == [*map(list, write.rows)]:
                write.fail(ValueError(f"the row cannot be written: {error}"))
            write.rows = rows
        self._again(batch)

    async def _commit(self, connection: Connection, batch: list[_Write]) -> None:
        """In one transaction."""
        opening = [row for write in batch if write.opening for row in write.rows]
        settled = [row for write in batch if not write.opening for row in write.rows]
        for write in batch:
            write.sent = True
        new: set[str] = set()
        if opening and settled:
            found = await connection.fetch(OPEN_AND_SETTLE, *columns(opening), *columns(settled))
            new = {id for (id,) in found}
        elif opening:
            new = {id for (id,) in await connection.fetch(OPEN, *columns(opening))}
        elif settled:
            await connection.execute(SETTLE, *columns(settled))
        else:
            await self._alive(connection)
        self.failing = ""
        for write in batch:
            failure = await self._open_again(connection, write, new) if write.opening else None
            if failure is not None:
                write.fail(failure)
            elif not write.done.done():
                write.done.set_result(None)

    async def _open_again(
        self, connection: Connection, write: _Write, new: set[str]
    ) -> ValueError | None:
        """Of a row that opens where there is one: the same call's is replaced, because it asks
        another backend or cannot know whether it was written; another call's is a conflict."""
        for id, owner, entry in write.rows:
            if id in new:
                new.remove(id)
                continue
            found = await connection.fetchval(FIND_OPEN, id)
            if found is None or not same_call(found, entry):
                return ValueError(f"the ledger has an entry {id!r} already")
            if found != entry and not await connection.fetch(REOPEN, id, entry, owner, found):
                return ValueError(f"the ledger has settled the entry {id!r} meanwhile")
        return None


_SESSION = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2"
)


def _fail_all(batch: Iterable[_Write], error: StorageUnavailable) -> None:
    for write in batch:
        write.fail(error)
