"""Four weeks that are over are summed once more in SQLite: worked out while others may write, and
written in small steps.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator

from gateway.storage.rollups.cubes import DAY, FOUR_WEEKS, FULL, HOUR
from gateway.storage.rollups.four_weeks import ENDED, UNCHANGED, Coarse, coarse, next_over
from gateway.storage.sqlite.rollup_tables import MEMBERS
from gateway.storage.sqlite.transactions import writing

_MADE = "temp.four_weeks_made"
SMALL = 1_000
"""Of fewer sums of hours all is written at once."""
_AT_ONCE = 8_000
"""So many sums are written in some fifteen milliseconds, in which others may not write."""


class _Changed(Exception):
    """Raised where a sum has changed meanwhile, or another process has done it."""


def sum_up(
    connection: sqlite3.Connection, now: float, goes_on: Callable[[], bool], small: int = SMALL
) -> bool:
    """Sums up the newest four weeks that are over and not whole, ``now`` in seconds since the
    epoch; whether there were any. Where ``goes_on`` says no, or a sum changes meanwhile, they are
    not whole yet. Others may write, and sum up the same, meanwhile. ``small``: of fewer
    sums of hours all is written in one step. Raises sqlite3.Error."""
    found = connection.execute(next_over(now)).fetchone()
    if found is None:
        return False
    start, changes = found
    with writing(connection):
        for statement in MEMBERS:
            connection.execute(statement)
    unchanged = UNCHANGED.format(start, changes)
    with contextlib.suppress(_Changed):
        if _is_small(connection, start, small):
            with _writing_of(connection, unchanged):
                for each in coarse(start):
                    _replace(connection, each, f"({each.query})", each.first, each.last)
                connection.execute(ENDED.format(start, changes))
            return True
        for each in coarse(start):
            if not goes_on():
                return True
            _make(connection, each, unchanged)
        with writing(connection):
            connection.execute(ENDED.format(start, changes))
    return True


def _is_small(connection: sqlite3.Connection, start: int, small: int) -> bool:
    """Whether all is soon written in one step."""
    hours = (
        f"SELECT 1 FROM {FULL.sums} WHERE span = {HOUR} AND start >= {start} "  # noqa: S608
        f"AND start < {start + FOUR_WEEKS} LIMIT {small}"
    )
    [sums] = connection.execute(f"SELECT COUNT(*) FROM ({hours})").fetchone()  # noqa: S608
    return bool(sums < small)


@contextlib.contextmanager
def _writing_of(connection: sqlite3.Connection, unchanged: str) -> Iterator[None]:
    with writing(connection):
        if connection.execute(unchanged).fetchone() is None:
            raise _Changed
        yield


def _make(connection: sqlite3.Connection, coarse: Coarse, unchanged: str) -> None:
    connection.execute(f"CREATE TEMP TABLE {_MADE.removeprefix('temp.')} AS {coarse.query}")
    try:
        [sums] = connection.execute(f"SELECT COUNT(*) FROM {_MADE}").fetchone()  # noqa: S608
        days = (coarse.last - coarse.first) // DAY
        step = DAY * max(1, min(days, days * _AT_ONCE // max(1, sums)))
        for first in range(coarse.first, coarse.last, step):
            with _writing_of(connection, unchanged):
                _replace(connection, coarse, _MADE, first, min(first + step, coarse.last))
    finally:
        connection.execute(f"DROP TABLE {_MADE}")


def _replace(
    connection: sqlite3.Connection, coarse: Coarse, source: str, first: int, last: int
) -> None:
    """Those that start from ``first`` to before ``last``."""
    these = f"span = {coarse.span} AND start >= {first} AND start < {last}"
    names = ", ".join(coarse.columns)
    connection.execute(f"DELETE FROM {coarse.table} WHERE {these}")  # noqa: S608
    connection.execute(
        f"INSERT INTO {coarse.table} ({names}) SELECT {names} FROM {source} WHERE {these}"  # noqa: S608
    )
