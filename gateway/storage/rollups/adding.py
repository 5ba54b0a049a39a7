"""Rows are added to the sums of every cube, as SQL that every ledger's database reads.

A batch of rows is summed by quarter of an hour and group first; what is then added to each table is
made of that.
"""

from __future__ import annotations

from gateway.storage.durations import bucket_sql
from gateway.storage.reports import MEASURES, SUMMED
from gateway.storage.rollups.cubes import (
    CUBES,
    FULL,
    GROUP,
    PARTS,
    QUARTER_US,
    TOLD,
    Cube,
)

_NAMES = ", ".join(GROUP)
_MEASURED = ", ".join(f"CAST(SUM({sql}) AS BIGINT) AS {name}" for name, sql in MEASURES.items())
_CARRIED = ", ".join(f"b.{name}" for name in TOLD)
assert tuple(MEASURES) == TOLD
assert set(SUMMED) < set(TOLD)


def batch_of(source: str) -> str:
    """Settled rows by quarter of an hour, group and, of calls, how long they took; ``source`` is
    the condition that says which."""
    bucket = f"CASE WHEN kind = 'call' THEN {bucket_sql()} ELSE 0 END"
    start = f"started_at / {QUARTER_US}"
    return (
        f"SELECT {start} AS start, {_NAMES}, {bucket} AS bucket, {_MEASURED} "  # noqa: S608
        f"FROM entries WHERE {source} GROUP BY {start}, {_NAMES}, {bucket}"
    )


def numbered(batch: str, same_group: str) -> str:
    """``batch`` (a table, or a query in brackets) with the numbers of its groups in each cube;
    ``same_group`` says when ``b`` of it is of the group ``g``."""
    parts = ", ".join(f"g.{cube.name} AS {cube.name}_id" for cube in PARTS)
    return (
        f"SELECT b.start, 0 AS total_id, {parts}, g.id AS full_id, b.bucket, {_CARRIED} "  # noqa: S608
        f"FROM {batch} AS b JOIN {FULL.groups} AS g ON {same_group}"
    )


def place(cube: Cube, same: str, digest: str = "") -> list[str]:
    """The statements that give the new groups of ``FULL`` their parts' numbers in ``cube``;
    ``same`` says when its group ``p`` is that of ``g``, ``digest`` what its table has beside."""
    names = ", ".join(cube.columns)
    head, made = ("digest, ", f"{digest}, ") if digest else ("", "")
    return [
        f"INSERT INTO {cube.groups} ({head}{names}) SELECT DISTINCT {made}{names} "  # noqa: S608
        f"FROM {FULL.groups} WHERE {cube.name} IS NULL ON CONFLICT DO NOTHING",
        f"UPDATE {FULL.groups} AS g SET {cube.name} = (SELECT p.id FROM {cube.groups} AS p "  # noqa: S608
        f"WHERE {same}) WHERE g.{cube.name} IS NULL",
    ]


def parts_of(source: str) -> dict[str, str]:
    """Name -> query of ``source``, a table as ``numbered`` gives it, summed by the groups of a cube
    that is added at several spans."""
    made = {}
    for cube in CUBES[:-1]:
        made[_part(cube)] = _summed(source, cube, TOLD)
        if len(cube.timed) > 1:
            made[_part(cube, timed=True)] = _summed(source, cube, ("calls",), timed=True)
    return made


def add(source: str) -> list[str]:
    """The statements that add ``source`` to all sums, when there is a table of each of its
    parts."""
    parts = parts_of(source)
    made = []
    for cube in CUBES:
        part, timed = _part(cube), _part(cube, timed=True)
        for span in cube.spans:
            made.append(_add(part if part in parts else source, cube, span))
        for span in cube.timed:
            made.append(_add(timed if timed in parts else source, cube, span, timed=True))
    return made


def _part(cube: Cube, *, timed: bool = False) -> str:
    return f"rollup_batch_{cube.name}{'_timed' if timed else ''}"


def _summed(source: str, cube: Cube, sums: tuple[str, ...], *, timed: bool = False) -> str:
    grouped = f"b.start, b.{cube.name}_id{', b.bucket' if timed else ''}"
    columns = ", ".join(f"CAST(SUM(b.{name}) AS BIGINT) AS {name}" for name in sums)
    return f"SELECT {grouped}, {columns} FROM {source} AS b {_calls(timed)} GROUP BY {grouped}"  # noqa: S608


def _calls(timed: bool) -> str:
    return f"WHERE {'b.calls > 0' if timed else 'TRUE'}"


def _add(source: str, cube: Cube, span: int, *, timed: bool = False) -> str:
    bucket = ", b.bucket" if timed else ""
    table, sums = (cube.durations, ("calls",)) if timed else (cube.sums, TOLD)
    grouped = f"b.start / {span} * {span}, b.{cube.name}_id{bucket}"
    key = f"span, start, group_id{bucket.replace('b.', '')}"
    columns = ", ".join(f"CAST(SUM(b.{name}) AS BIGINT)" for name in sums)
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    return (
        f"INSERT INTO {table} ({key}, {', '.join(sums)}) "  # noqa: S608
        f"SELECT {span}, {grouped}, {columns} FROM {source} AS b {_calls(timed)} "
        f"GROUP BY {grouped} ON CONFLICT ({key}) DO UPDATE SET {added}"
    )
