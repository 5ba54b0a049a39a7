"""Roll-ups in PostgreSQL: rows wait in a queue, from which one gateway at a time takes them.

A trigger puts every settled row into ``unrolled``, whichever gateway settles it: rows of several
gateways are committed in no order by which one could say how far one has come. Rows that were there
before the queue are rolled up by their ids; until they are, reports read rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from gateway.storage.postgres.connections import Connection
from gateway.storage.postgres.rollup_tables import MEMBERS, PLACING, digest
from gateway.storage.queries import UsageQuery, UsageReport
from gateway.storage.reports import Dialect, Durations, calendar_for, narrowed, report_of
from gateway.storage.rollups.adding import BATCH, add, batch_of, parts_of
from gateway.storage.rollups.archived import check_archived
from gateway.storage.rollups.cubes import DAY, FULL, GROUP, QUARTER_US, TOTAL
from gateway.storage.rollups.cuts import cut_of
from gateway.storage.rollups.four_weeks import ENDED, WHOLE, Coarse, coarse, next_over
from gateway.storage.rollups.reading import Reading, Unsummed
from gateway.storage.rollups.spending import Sources, spent_statement
from gateway.storage.row_archive import ArchiveSql
from gateway.storage.spent import Spent, SpentQuery, spent_of

BATCH_ROWS = 20_000
POSTGRES = Dialect(
    parameter=lambda number: f"${number}",
    tag=lambda tags, mark: f"COALESCE({tags} ->> {mark}::text, '')",
    tag_value=lambda name: name,
)

_COLUMNS = ", ".join(GROUP)
_TAKEN = "entries WHERE id = ANY ($1::text[])"
_GROUPS = (
    f"INSERT INTO {FULL.groups} (digest, {_COLUMNS}) "  # noqa: S608
    f"SELECT {digest('')}, {_COLUMNS} FROM (SELECT DISTINCT {_COLUMNS} FROM {_TAKEN}) AS e "
    f"WHERE NOT EXISTS (SELECT 1 FROM {FULL.groups} AS g WHERE g.digest = {digest('e.')}) "
    "ON CONFLICT (digest) DO NOTHING"
)
_GROUP = f"(SELECT g.id FROM {FULL.groups} AS g WHERE g.digest = {digest('entries.')})"  # noqa: S608
_ADD = (
    f"WITH {BATCH} AS MATERIALIZED ({batch_of(_TAKEN, _GROUP)}), "
    + "".join(f"{name} AS MATERIALIZED ({sql}), " for name, sql in parts_of().items())
    + ", ".join(f"added_{number} AS ({sql})" for number, sql in enumerate(add()))
    + " SELECT 1"
)
"""One statement, so that what the rows are summed by is worked out once."""
_TURN = (
    "SELECT pg_try_advisory_xact_lock(hashtext('spillgate roll-ups'), hashtext(current_schema()))"
)
_TAKE = (
    f"DELETE FROM unrolled WHERE id IN (SELECT id FROM unrolled LIMIT {BATCH_ROWS}) RETURNING id"  # noqa: S608
)
_WAIT = "SELECT COUNT(*) FROM (SELECT 1 FROM unrolled LIMIT $1) AS waiting"
_BEFORE = (
    "SELECT id FROM entries WHERE queued IS NULL AND id > $1 "  # noqa: S608
    f"ORDER BY id LIMIT {BATCH_ROWS}"
)
_WAITING = Unsummed("id IN (SELECT id FROM unrolled)")
_WAITS = "(NOT (SELECT backfilled FROM rollup_state) OR id IN (SELECT id FROM unrolled))"
ARCHIVE = ArchiveSql(
    rolled_up=f"NOT {_WAITS}", waits=_WAITS, waiting="SELECT COUNT(*) FROM unrolled"
)
_ROOM = "SELECT set_config('work_mem', '64MB', TRUE)"
"""For a report in memory: with the server's own 4 MiB, groups by the ten thousand are sorted on its
disk, which takes several times as long. A report of more groups than that holds is."""
_STATE = "SELECT backfilled_to, backfilled, archived_before, quarters_from FROM rollup_state"


async def roll_up(connection: Connection, least: int = 1) -> int:
    """Rolls up one batch, unless fewer rows than ``least`` wait or another gateway does; how many
    rows that were."""
    async with connection.transaction():
        if not await connection.fetchval(_TURN):
            return 0
        ids = await _backfill(connection)
        if not ids and await connection.fetchval(_WAIT, least) == least:
            ids = [id for (id,) in await connection.fetch(_TAKE)]
        if ids:
            await connection.execute(_GROUPS, ids)
            for statement in PLACING:
                await connection.execute(statement)
            await connection.execute(_ADD, ids)
    return len(ids)


async def _backfill(connection: Connection) -> list[str]:
    """Rows from before there was a queue; none when all are rolled up."""
    after, done, *_ = await connection.fetchrow(_STATE)
    if done:
        return []
    ids = [id for (id,) in await connection.fetch(_BEFORE, after)]
    if ids:
        await connection.execute("UPDATE rollup_state SET backfilled_to = $1", ids[-1])
    else:
        await connection.execute("UPDATE rollup_state SET backfilled = TRUE")
    return ids


async def sum_up_four_weeks(connection: Connection, now: float) -> bool:
    """Sums up once more the newest four weeks that are over and not whole, ``now`` in seconds since
    the epoch; whether there were any, and no other gateway was at it."""
    async with connection.transaction():
        if not await connection.fetchval(_TURN):
            return False
        found = await connection.fetchrow(next_over(now))
        if found is None:
            return False
        start, changes = found
        # Nobody waits for it, and what a report may take is too little for some millions of sums.
        await connection.execute("SET LOCAL statement_timeout = '10min'")
        for statement in MEMBERS:
            await connection.execute(statement)
        for each in coarse(start):
            await _replace(connection, each)
        await connection.execute(ENDED.format(start, changes))
        return True


async def _replace(connection: Connection, coarse: Coarse) -> None:
    await connection.execute(
        f"DELETE FROM {coarse.table} WHERE span = {coarse.span} "  # noqa: S608
        f"AND start >= {coarse.first} AND start < {coarse.last}"
    )
    await connection.execute(
        f"INSERT INTO {coarse.table} ({', '.join(coarse.columns)}) {coarse.query}"
    )


async def usage(connection: Connection, query: UsageQuery) -> UsageReport:
    """Raises ValueError for a dimension or a zone that is none or a bad day, and ReportRefused."""
    query = narrowed(query)
    # What is rolled up and what waits are read at one moment.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(_ROOM)
        _, backfilled, archived_before, quarters_from = await connection.fetchrow(_STATE)
        calendar = calendar_for(query, *await bounds(connection, archived_before))
        over = [start for (start,) in await connection.fetch(WHOLE)]

        def reading(timed: bool) -> Reading:
            cut = cut_of(query, calendar, quarters_from=quarters_from, timed=timed, over=over)
            cut = cut if backfilled else None
            check_archived(query, cut, archived_before)
            return Reading(query, POSTGRES, calendar, cut, _WAITING)

        report = report_of(query, await _fetch(connection, reading(False).sums()), calendar)
        if not query.durations:
            return report
        durations = Durations(query, report, calendar)
        sql, values = reading(True).durations()
        async for row in connection.cursor(sql, *values):
            durations.add(row)
        return durations.report()


async def spent(
    connection: Connection,
    queries: Sequence[SpentQuery],
    still: Callable[[], AbstractAsyncContextManager[None]],
) -> list[list[Spent]]:
    """What limits count, as ``Ledger.sums`` says."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async with still():  # the first statement says of which instant all is
            _, backfilled, _, quarters_from = await connection.fetchrow(_STATE)
        last_us = (await bounds(connection))[1] or 0
        sources = Sources(_WAITING if backfilled else None, quarters_from, last_us)
        return [
            [
                spent_of(one.side, row)
                for row in await connection.fetch(spent_statement(one, sources))
            ]
            for one in queries
        ]


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
    sql = f"SELECT MIN(start) FROM {TOTAL.sums} WHERE span = {DAY}"  # noqa: S608
    oldest = await connection.fetchval(sql)
    return *known, archived_before, None if oldest is None else oldest * QUARTER_US
