"""Four weeks that are over are summed once more in SQLite: worked out while others may write, and
written in small steps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from gateway.storage.rollups.cubes import DAY
from gateway.storage.rollups.four_weeks import ENDED, Coarse, coarse, next_over
from gateway.storage.sqlite.rollup_tables import MEMBERS
from gateway.storage.sqlite.transactions import writing

_MADE = "temp.four_weeks_made"
_AT_ONCE = 8_000
"""So many sums are written in some fifteen milliseconds, in which others may not write."""


def sum_up(connection: sqlite3.Connection, now: float, goes_on: Callable[[], bool]) -> bool:
    """Sums up the newest four weeks that are over and not whole, ``now`` in seconds since the
    epoch; whether there were any. Where ``goes_on`` says no, or a sum changes meanwhile, they are
    not whole yet. Others may write meanwhile. Raises sqlite3.Error."""
    found = connection.execute(next_over(now)).fetchone()
    if found is None:
        return False
    start, changes = found
    with writing(connection):
        for statement in MEMBERS:
            connection.execute(statement)
    for each in coarse(start):
        if not goes_on():
            return True
        _make(connection, each)
    with writing(connection):
        connection.execute(ENDED.format(start, changes))
    return True


def _make(connection: sqlite3.Connection, coarse: Coarse) -> None:
    connection.execute(f"CREATE TEMP TABLE {_MADE.removeprefix('temp.')} AS {coarse.query}")
    try:
        [sums] = connection.execute(f"SELECT COUNT(*) FROM {_MADE}").fetchone()  # noqa: S608
        days = (coarse.last - coarse.first) // DAY
        step = DAY * max(1, min(days, days * _AT_ONCE // max(1, sums)))
        for first in range(coarse.first, coarse.last, step):
            _replace(connection, coarse, first, first + step)
    finally:
        connection.execute(f"DROP TABLE {_MADE}")


def _replace(connection: sqlite3.Connection, coarse: Coarse, first: int, last: int) -> None:
    """Those that start from ``first`` to before ``last``."""
    these = f"span = {coarse.span} AND start >= {first} AND start < {min(last, coarse.last)}"
    names = ", ".join(coarse.columns)
    with writing(connection):
        connection.execute(f"DELETE FROM {coarse.table} WHERE {these}")  # noqa: S608
        connection.execute(
            f"INSERT INTO {coarse.table} ({names}) SELECT {names} FROM {_MADE} WHERE {these}"  # noqa: S608
        )
