"""Moves whole days of rows from the ledger to files, and says how far the ledger reaches back.

One of all gateways does it, by a lease in the ledger. A file is named in the ledger, written aside,
put on the disk, read back and compared with the rows; then, and not before, reports take no rows of
its day, and its rows are deleted by the ids that the file has. Whoever goes on after a death finds
the file's name, and whether it was whole.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import re
import secrets
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from pathlib import Path

from gateway.archive.day_files import ArchiveBroken, DayFile, files_of, pages
from gateway.clock import Clock
from gateway.metrics import Reading
from gateway.policy.sections.store import KeepSettings
from gateway.storage.base import StorageUnavailable
from gateway.storage.row_archive import DAY_US, ArchiveFile, LedgerAge, RowArchive, sums_of
from gateway.storage.rows import Encoded
from gateway.types import MICRO

log = logging.getLogger("spillgate")

_FIRST_S = 30.0
"""After a start, until anything is moved: what starts has other work."""
_EVERY_S = 60.0
_PAUSE_S = 0.02
"""Between two steps, in which others have the store."""
_LEASE_S = 300.0
_PAGE = 1_000
"""Rows that one step reads, or writes."""
_AT_ONCE = 200
"""Rows that one step deletes: some milliseconds, for each is in four indexes."""


_ID = re.compile(r"req_([0-9a-f]{12})[0-9a-f]{12}(#\d+)?\Z")


class LeaseLost(Exception):
    """Another gateway goes on."""


class Archivist:
    """``keep``: how long rows stay, and where they go then; None: they stay for ever."""

    def __init__(self, rows: RowArchive, keep: KeepSettings | None, clock: Clock) -> None:
        self._rows = rows
        self._keep_s = None if keep is None else keep.rows
        self._files = files_of(keep)
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._age = LedgerAge(None, 0, 0)
        self._failing = ""

    async def run(self) -> None:
        """For ever; at the end, the store is closed."""
        try:
            await self._learn_age()
            await self._clock.sleep(_FIRST_S)
            while True:
                await self.look()
                await self._clock.sleep(_EVERY_S)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        self._files.close()
        await self._rows.aclose()

    async def look(self) -> None:
        """Moves what is old enough; what keeps it from that is logged, once."""
        failing = ""
        try:
            if self._keep_s is not None:
                await self._move(self._keep_s)
        except LeaseLost:
            log.info("another gateway goes on with moving old rows out of the ledger")
        except Exception as error:  # whatever a disk or a file brings, it is tried again
            failing = " ".join(f"{error or type(error).__name__}".split())
        if failing and failing != self._failing:
            log.error("old rows stay in the ledger, for they cannot be moved: %s", failing)
        if self._failing and not failing:
            log.warning("old rows are moved out of the ledger again")
        self._failing = failing
        await self._learn_age()

    async def _learn_age(self) -> None:
        with contextlib.suppress(StorageUnavailable):
            self._age = await self._rows.age()

    # --- what is told ---

    def where(self, request_id: str) -> str:
        """Of a call that the ledger has not: where its row may be, if its id says that it is of a
        time that is archived; else empty."""
        at_us = _at_us(request_id)
        if at_us is None or at_us >= self._age.archived_before_us:
            return ""
        before = f"Rows of before {_date(self._age.archived_before_us)}"
        if self._files.folder is None:
            return f"{before} are not kept; their sums are, by hour and day."
        return f"{before} are archived: that call's is in {_stem(at_us)}{self._files.suffix}."

    def readings(self) -> Iterator[Reading]:
        """Gauges, as of the last look."""
        if self._age.oldest_us is not None:
            text = "When the oldest row of the ledger began, in seconds since the epoch"
            yield "spillgate_ledger_oldest_row_seconds", text, {}, self._age.oldest_us / MICRO
        text = "Settled rows that are in no sums of hours and days yet"
        yield "spillgate_rollup_waiting_rows", text, {}, self._age.waiting
        text = "1 while rows that are old enough cannot be moved out of the ledger"
        yield "spillgate_archive_failing", text, {}, float(bool(self._failing))

    # --- moving ---

    async def _move(self, keep_s: float) -> None:
        if not await self._rows.lease(self._holder, _LEASE_S):
            return
        try:
            for file in await self._rows.unfinished():
                await self._finish(file)
            before_us = round((self._clock.time() - keep_s) * MICRO)
            while (day_us := await self._rows.oldest_day(before_us)) is not None:
                await self._move_day(day_us)
        finally:
            await self._rows.leave(self._holder)

    async def _move_day(self, day_us: int) -> None:
        folder = self._files.folder
        if folder is None:
            await self._drop(day_us)
            return
        taken = await self._rows.paths(day_us)
        stem = _stem(day_us)
        path = await self._files.run(lambda: self._files.free_path(folder, stem, taken))
        file = ArchiveFile(str(path), day_us)
        await self._rows.begin(file)
        await self._finish(file)

    async def _finish(self, file: ArchiveFile) -> None:
        path = Path(file.path)
        if file.state == "writing":
            rows = await self._write(path, file.day_us)
            await self._compare(path, rows)
            if not await self._rows.written(file, self._holder):
                raise LeaseLost
            log.info("%d rows are archived in %s", rows, path)
        await self._delete(path)
        await self._rows.emptied(file)

    async def _write(self, path: Path, day_us: int) -> int:
        """How many rows it has."""
        aside = await self._files.run(lambda: DayFile(path))
        try:
            rows = await self._fill(aside, day_us)
            await self._still_mine()
            await self._files.run(aside.finish)
        except BaseException:
            aside.discard()
            raise
        return rows

    async def _fill(self, aside: DayFile, day_us: int) -> int:
        rows = 0
        after = (day_us, "")
        while page := await self._rows.page(day_us, after, _PAGE):
            await self._files.run(partial(aside.write, page))
            rows += len(page)
            after = _place(page[-1])
            await self._step()
        return rows

    async def _compare(self, path: Path, rows: int) -> None:
        """Raises ArchiveBroken where the file has not what the ledger has."""
        found = 0
        async for page in self._pages(path):
            if sums_of(page) != await self._rows.sums([row[0] for row in page]):
                raise ArchiveBroken(
                    f"{path} has other sums than its rows in the ledger: somebody has changed "
                    "one of them"
                )
            found += len(page)
            await self._step()
        if found != rows:
            raise ArchiveBroken(f"{path} has {found} rows, and {rows} were put there")

    async def _delete(self, path: Path) -> None:
        async for page in self._pages(path):
            await self._rows.delete([row[0] for row in page])
            await self._step()

    async def _pages(self, path: Path) -> AsyncGenerator[list[Encoded], None]:
        each = pages(path, _AT_ONCE)
        while page := await self._files.run(lambda: next(each, None)):
            yield page

    async def _drop(self, day_us: int) -> None:
        await self._rows.dropped(day_us)
        while page := await self._rows.page(day_us, (day_us, ""), _AT_ONCE):
            await self._rows.delete([row[0] for row in page])
            await self._step()

    async def _step(self) -> None:
        await self._clock.sleep(_PAUSE_S)
        await self._still_mine()

    async def _still_mine(self) -> None:
        if not await self._rows.lease(self._holder, _LEASE_S):
            raise LeaseLost


def _place(row: Encoded) -> tuple[int, str]:
    return row[3], row[0]


def _date(at_us: int) -> str:
    return datetime.datetime.fromtimestamp(at_us // MICRO, datetime.UTC).date().isoformat()


def _stem(at_us: int) -> str:
    return f"calls-{_date(at_us // DAY_US * DAY_US)}"


def _at_us(request_id: str) -> int | None:
    """When a call began, by its id."""
    found = _ID.match(request_id)
    return int(found[1], 16) * 1_000 if found else None
