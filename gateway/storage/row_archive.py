"""Old rows on their way out of the ledger: which may go, and what is known of their files.

The table ``archives`` names each file before it is written, so that one which was begun is made
again by its name, and one which is whole is known to be so before a row is deleted. A row goes when
it is rolled up and told to whoever takes usage. Corrections and the hours of commitments stay: they
are few, and their names are numbers in a row that goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

import msgspec

from gateway.storage.outbox_statements import Statement
from gateway.storage.rows import COLUMNS, Encoded
from gateway.storage.sql_outbox import Rows, RunsStatements
from gateway.types import MICRO

DAY_US = 86_400 * MICRO
SUMMED = ("cost_nano", "gpu_us", "input_tokens", "output_tokens")
"""What a file must have as much of as the rows that are in it."""


class Sums(msgspec.Struct, frozen=True):
    """Of some rows: how many they are, and the sum of each of ``SUMMED``."""

    rows: int = 0
    summed: tuple[int, ...] = (0,) * len(SUMMED)

    def __add__(self, other: Sums) -> Sums:
        summed = tuple(map(sum, zip(self.summed, other.summed, strict=True)))
        return Sums(self.rows + other.rows, summed)


_SUMMED_AT = tuple(COLUMNS.index(name) for name in SUMMED)


def sums_of(rows: Iterable[Encoded]) -> Sums:
    """Those of rows as ``encode_settled`` gives them."""
    rows = list(rows)
    return Sums(len(rows), tuple(sum(row[at] for row in rows) for at in _SUMMED_AT))


class ArchiveFile(msgspec.Struct, frozen=True):
    """A file of rows. ``written``: it is whole, and its rows may be deleted."""

    path: str
    day_us: int
    """When its day of UTC began, in microseconds since the epoch."""
    state: Literal["writing", "written", "emptied"] = "writing"


class LedgerAge(msgspec.Struct, frozen=True):
    """How far a ledger reaches back; microseconds since the epoch."""

    oldest_us: int | None
    """When the first of its rows began; None where it has none."""
    archived_before_us: int
    """0: nothing is archived."""
    waiting: int
    """Rows that are not rolled up yet."""


class ArchiveSql(msgspec.Struct, frozen=True):
    """What the databases say differently, of a row of ``entries``."""

    rolled_up: str
    waits: str
    """It is not rolled up."""
    waiting: str
    """A query that counts those."""


class RowArchive(Protocol):
    """The rows of a ledger that may go. Each method is one short transaction, by the store's clock,
    and raises StorageUnavailable."""

    async def age(self) -> LedgerAge: ...

    async def lease(self, holder: str, lease_s: float) -> bool:
        """Whether ``holder`` alone may go on, for ``lease_s`` from now."""
        ...

    async def leave(self, holder: str) -> None:
        """Lets another have the lease."""
        ...

    async def oldest_day(self, before_us: int) -> int | None:
        """The first day with a row that may go, of those that end before then; None where there is
        none, or where a row of that day still waits to be rolled up or told."""
        ...

    async def unfinished(self) -> list[ArchiveFile]:
        """Files that are not whole, or whose rows are not all deleted."""
        ...

    async def paths(self, day_us: int) -> set[str]:
        """Of all files that there ever were of a day."""
        ...

    async def begin(self, file: ArchiveFile) -> None:
        """Names a file that is going to be written."""
        ...

    async def page(self, day_us: int, after: tuple[int, str], most: int) -> list[Encoded]:
        """Rows of a day that may go, in the order of when they began and their ids, behind that
        one."""
        ...

    async def sums(self, ids: Sequence[str]) -> Sums:
        """Those of the rows that are in the ledger."""
        ...

    async def written(self, file: ArchiveFile, holder: str) -> bool:
        """A file is whole: reports of its day take no rows from now on. False, and nothing is
        changed, where ``holder`` has lost the lease."""
        ...

    async def dropped(self, day_us: int) -> None:
        """The same of a day whose rows go nowhere."""
        ...

    async def delete(self, ids: Sequence[str]) -> None:
        """Rows that are gone already are none."""
        ...

    async def emptied(self, file: ArchiveFile) -> None:
        """All rows of a file are deleted."""
        ...

    async def aclose(self) -> None:
        """Closes the connection."""
        ...


_KEPT = "(kind = 'correction' OR (kind = 'idle' AND reason = 'committed'))"
_TOLD = "id NOT IN (SELECT entry FROM unsent_usage)"
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
_SUMS = ", ".join(f"CAST(COALESCE(SUM({name}), 0) AS BIGINT)" for name in SUMMED)
_MINE = "EXISTS (SELECT 1 FROM archive_lease WHERE holder = ?)"

TABLES = (
    "CREATE TABLE archives (path TEXT NOT NULL PRIMARY KEY, day_us BIGINT NOT NULL, "
    "state TEXT NOT NULL)",
    "CREATE TABLE archive_lease AS SELECT CAST('' AS TEXT) AS holder, "
    "CAST(0 AS BIGINT) AS held_until",
)
"""The statements that make what is kept of archives, in a ledger of any kind."""


class SqlRowArchive:
    """A ``RowArchive`` over a connection to the ledger's database."""

    def __init__(self, connection: RunsStatements, sql: ArchiveSql) -> None:
        self._connection = connection
        self._may_go = f"NOT {_KEPT} AND {sql.rolled_up} AND {_TOLD}"
        self._must_wait = f"NOT {_KEPT} AND ({sql.waits} OR NOT {_TOLD})"
        self._waiting = sql.waiting

    async def _one(self, sql: str, *values: Any) -> Rows:
        [rows] = await self._connection.run([(sql, values)])
        return rows

    async def age(self) -> LedgerAge:
        statements: list[Statement] = [
            ("SELECT MIN(started_at) FROM entries", ()),
            ("SELECT archived_before FROM rollup_state", ()),
            (self._waiting, ()),
        ]
        [[oldest]], [[before]], [[waiting]] = await self._connection.run(statements)
        return LedgerAge(oldest, before, waiting)

    async def lease(self, holder: str, lease_s: float) -> bool:
        sql = (
            "UPDATE archive_lease SET holder = ?, held_until = {now} + ? "
            "WHERE holder = ? OR held_until < {now} RETURNING holder"
        )
        return bool(await self._one(sql, holder, round(lease_s * MICRO), holder))

    async def leave(self, holder: str) -> None:
        await self._one("UPDATE archive_lease SET held_until = 0 WHERE holder = ?", holder)

    async def oldest_day(self, before_us: int) -> int | None:
        whole_us = before_us // DAY_US * DAY_US
        sql = (
            f"SELECT started_at FROM entries WHERE started_at < ? AND {self._may_go} "  # noqa: S608
            "ORDER BY started_at LIMIT 1"
        )
        found = await self._one(sql, whole_us)
        if not found:
            return None
        day_us = found[0][0] // DAY_US * DAY_US
        sql = (
            "SELECT 1 FROM entries WHERE started_at >= ? AND started_at < ? "  # noqa: S608
            f"AND {self._must_wait} LIMIT 1"
        )
        return None if await self._one(sql, day_us, day_us + DAY_US) else int(day_us)

    async def unfinished(self) -> list[ArchiveFile]:
        sql = "SELECT path, day_us, state FROM archives WHERE state <> 'emptied' ORDER BY path"
        return [ArchiveFile(*row) for row in await self._one(sql)]

    async def paths(self, day_us: int) -> set[str]:
        sql = "SELECT path FROM archives WHERE day_us = ?"
        return {path for (path,) in await self._one(sql, day_us)}

    async def begin(self, file: ArchiveFile) -> None:
        sql = "INSERT INTO archives (path, day_us, state) VALUES (?, ?, ?)"
        await self._one(sql, file.path, file.day_us, file.state)

    async def page(self, day_us: int, after: tuple[int, str], most: int) -> list[Encoded]:
        sql = (
            f"SELECT {_NAMES} FROM entries WHERE started_at >= ? AND started_at < ? "  # noqa: S608
            f"AND (started_at, id) > (?, ?) AND {self._may_go} ORDER BY started_at, id LIMIT ?"
        )
        since_us = max(day_us, after[0])
        found = await self._one(sql, since_us, day_us + DAY_US, *after, most)
        return [tuple(row) for row in found]

    async def sums(self, ids: Sequence[str]) -> Sums:
        sql = f"SELECT COUNT(*), {_SUMS} FROM entries WHERE id IN ({_marks(ids)})"  # noqa: S608
        [[rows, *summed]] = await self._one(sql, *ids)
        return Sums(rows, tuple(summed))

    async def written(self, file: ArchiveFile, holder: str) -> bool:
        sql = f"UPDATE archives SET state = 'written' WHERE path = ? AND {_MINE} RETURNING path"  # noqa: S608
        mine = f" AND {_MINE}"
        statements = [(sql, (file.path, holder)), _archived(file.day_us + DAY_US, mine, holder)]
        return bool((await self._connection.run(statements))[0])

    async def dropped(self, day_us: int) -> None:
        await self._connection.run([_archived(day_us + DAY_US)])

    async def delete(self, ids: Sequence[str]) -> None:
        await self._one(f"DELETE FROM entries WHERE id IN ({_marks(ids)})", *ids)  # noqa: S608

    async def emptied(self, file: ArchiveFile) -> None:
        await self._one("UPDATE archives SET state = 'emptied' WHERE path = ?", file.path)

    async def aclose(self) -> None:
        await self._connection.aclose()


def _archived(before_us: int, more: str = "", *values: str) -> Statement:
    sql = f"UPDATE rollup_state SET archived_before = ? WHERE archived_before < ?{more}"  # noqa: S608
    return sql, (before_us, before_us, *values)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
