"""Roll-ups in PostgreSQL: rows wait in a queue, from which one gateway at a time takes them.

A trigger puts every settled row into ``unrolled``, whichever gateway settles it: rows of several
gateways are committed in no order by which one could say how far one has come. Rows that were there
before the queue are rolled up by their ids; until they are, reports read rows.
"""

from __future__ import annotations

from typing import Any

from gateway.storage.calendar import HOUR_US
from gateway.storage.postgres.connections import Connection
from gateway.storage.queries import UsageQuery, UsageReport
from gateway.storage.reports import Dialect, Durations, calendar_for, narrowed, report_of
from gateway.storage.rollups import (
    GROUP,
    Reading,
    Types,
    add_batch,
    batch_of,
    check_archived,
    cut_of,
    tables,
)
from gateway.storage.row_archive import ArchiveSql

BATCH_ROWS = 5_000
POSTGRES = Dialect(
    parameter=lambda number: f"${number}",
    tag=lambda tags, mark: f"COALESCE({tags} ->> {mark}::text, '')",
    tag_value=lambda name: name,
)

_TYPES = Types(
    'TEXT COLLATE "C"',
    "BIGINT",
    "JSONB",
    'id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, digest TEXT COLLATE "C" NOT NULL UNIQUE',
)
SCHEMA = ";\n\n".join(
    (
        *tables(_TYPES),
        "CREATE TABLE rollup_state AS SELECT CAST('' AS TEXT) AS backfilled_to, "
        "FALSE AS backfilled, CAST(0 AS BIGINT) AS archived_before",
        'CREATE TABLE unrolled (id TEXT COLLATE "C" PRIMARY KEY)',
        "ALTER TABLE entries ADD COLUMN queued BOOLEAN",
        "ALTER TABLE entries ALTER COLUMN queued SET DEFAULT TRUE",
        "CREATE FUNCTION wait_for_rollup() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO unrolled SELECT id FROM settled; RETURN NULL; END'",
        "CREATE TRIGGER waits_for_rollup AFTER INSERT ON entries REFERENCING NEW TABLE AS settled "
        "FOR EACH STATEMENT EXECUTE FUNCTION wait_for_rollup()",
    )
)
"""Its step of the schema. It touches no row, so that it takes no longer where there are many."""

_COLUMNS = ", ".join(GROUP)
_BATCH = f"({batch_of('id = ANY ($1::text[])')})"


def _digest(table: str) -> str:
    """Of a group: an index holds no texts as long as these may be."""
    return f"md5(jsonb_build_array({', '.join(f'{table}{name}' for name in GROUP)})::text)"


_GROUPS = (
    f"INSERT INTO rollup_groups (digest, {_COLUMNS}) SELECT DISTINCT {_digest('')}, {_COLUMNS} "  # noqa: S608
    "FROM entries WHERE id = ANY ($1::text[]) ON CONFLICT (digest) DO NOTHING"
)
_ADD = add_batch(_BATCH, f"g.digest = {_digest('b.')}")
_TURN = (
    "SELECT pg_try_advisory_xact_lock(hashtext('spillgate roll-ups'), hashtext(current_schema()))"
)
_TAKE = (
    f"DELETE FROM unrolled WHERE id IN (SELECT id FROM unrolled LIMIT {BATCH_ROWS}) RETURNING id"  # noqa: S608
)
_BEFORE = (
    "SELECT id FROM entries WHERE queued IS NULL AND id > $1 "  # noqa: S608
    f"ORDER BY id LIMIT {BATCH_ROWS}"
)
_WAITS = "(NOT (SELECT backfilled FROM rollup_state) OR id IN (SELECT id FROM unrolled))"
ARCHIVE = ArchiveSql(
    rolled_up=f"NOT {_WAITS}", waits=_WAITS, waiting="SELECT COUNT(*) FROM unrolled"
)
_STATE = "SELECT backfilled_to, backfilled, archived_before FROM rollup_state"


async def roll_up(connection: Connection) -> int:
    """Rolls up one batch, unless another gateway does; how many rows that were."""
    async with connection.transaction():
        if not await connection.fetchval(_TURN):
            return 0
        ids = await _backfill(connection) or [id for (id,) in await connection.fetch(_TAKE)]
        if ids:
            await connection.execute(_GROUPS, ids)
            for statement in _ADD:
                await connection.execute(statement, ids)
    return len(ids)


async def _backfill(connection: Connection) -> list[str]:
    """Rows from before there was a queue; none when all are rolled up."""
    after, done, _ = await connection.fetchrow(_STATE)
    if done:
        return []
    ids = [id for (id,) in await connection.fetch(_BEFORE, after)]
    if ids:
        await connection.execute("UPDATE rollup_state SET backfilled_to = $1", ids[-1])
    else:
        await connection.execute("UPDATE rollup_state SET backfilled = TRUE")
    return ids


async def usage(connection: Connection, query: UsageQuery) -> UsageReport:
    """Raises ValueError for a dimension or a zone that is none or a bad day, and ReportRefused."""
    query = narrowed(query)
    # What is rolled up and what waits are read at one moment.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        _, backfilled, archived_before = await connection.fetchrow(_STATE)
        calendar = calendar_for(query, *await bounds(connection, archived_before))
        cut = cut_of(query, calendar) if backfilled else None
        check_archived(query, cut, archived_before)
        waiting = "id IN (SELECT id FROM unrolled)"
        reading = Reading(query, POSTGRES, calendar, cut, waiting)
        report = report_of(query, await _fetch(connection, reading.sums()), calendar)
        if not query.durations:
            return report
        durations = Durations(query, report, calendar)
        sql, values = reading.durations()
        async for row in connection.cursor(sql, *values):
            durations.add(row)
        return durations.report()


async def _fetch(connection: Connection, statement: tuple[str, list[Any]]) -> list[Any]:
    sql, values = statement
    found: list[Any] = await connection.fetch(sql, *values)
    return found


async def archived_before(connection: Connection) -> int:
    """Rows that began before are archived; microseconds since the epoch, 0 where none are."""
    return int(await connection.fetchval("SELECT archived_before FROM rollup_state"))


async def bounds(connection: Connection, archived_before: int = 0) -> tuple[int | None, ...]:
    """When the first and the last row began, and what is archived of them."""
    known = tuple(await connection.fetchrow("SELECT MIN(started_at), MAX(started_at) FROM entries"))
    if not archived_before:
        return known
    oldest = await connection.fetchval("SELECT MIN(start) FROM rollups WHERE span = 24")
    return *known, archived_before, None if oldest is None else oldest * HOUR_US
