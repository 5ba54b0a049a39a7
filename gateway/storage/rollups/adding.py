"""Rows are added to the sums of every cube, as SQL that every ledger's database reads.

A batch of rows is read once: it is summed by quarter of an hour, group of ``FULL`` and how long
calls took. All else is made of those sums and not of rows, the parts' of the groups', the total of
the smaller part's.
"""

from __future__ import annotations

from gateway.storage.durations import bucket_sql
from gateway.storage.reports import MEASURES, SUMMED
from gateway.storage.rollups.cubes import (
    CUBES,
    FULL,
    PARTS,
    QUARTER_US,
    TOLD,
    TOTAL,
    WHAT,
    Cube,
)

BATCH = "rollup_batch"
"""The table, or query, that ``batch_of`` fills."""
_MEASURED = ", ".join(f"CAST(SUM({sql}) AS BIGINT) AS {name}" for name, sql in MEASURES.items())
assert tuple(MEASURES) == TOLD
assert set(SUMMED) < set(TOLD)


def batch_of(source: str, group: str) -> str:
    """Settled rows by quarter of an hour, group and, of calls, how long they took. ``source`` is
    what they are read from, with the condition that says which; ``group`` gives the number of a
    row's group, NULL where it has none yet."""
    bucket = f"CASE WHEN kind = 'call' THEN {bucket_sql()} ELSE 0 END"
    return (
        f"SELECT started_at / {QUARTER_US} AS start, {group} AS full_id, {bucket} AS bucket, "  # noqa: S608
        f"{_MEASURED} FROM {source} GROUP BY 1, 2, 3"
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


def parts_of() -> dict[str, str]:
    """Name -> query of ``BATCH``, or of a part before it, summed by the groups of a cube."""
    made = {}
    for cube in (FULL, *PARTS, TOTAL):
        made[_part(cube)] = _summed(cube, TOLD)
        if cube != FULL:
            made[_part(cube, timed=True)] = _summed(cube, ("calls",), timed=True)
    return made


def add() -> list[str]:
    """The statements that add the parts to all sums."""
    made = []
    for cube in CUBES:
        made += [_add(_part(cube), cube, span) for span in cube.spans]
        made += [_add(_part(cube, timed=True), cube, span, timed=True) for span in cube.timed]
    return made


def _part(cube: Cube, *, timed: bool = False) -> str:
    if timed:
        return BATCH if cube == FULL else f"{BATCH}_{cube.name}_timed"
    return f"{BATCH}_{cube.name}"


def _summed(cube: Cube, sums: tuple[str, ...], *, timed: bool = False) -> str:
    if cube == FULL:
        source, group = BATCH, "b.full_id"
    elif cube == TOTAL:
        source, group = _part(WHAT, timed=timed), "0"
    else:
        source, group = _part(FULL, timed=timed), f"g.{cube.name}"
    joined = f" JOIN {FULL.groups} AS g ON g.id = b.full_id" if cube in PARTS else ""
    bucket = ", b.bucket" if timed else ""
    columns = ", ".join(f"CAST(SUM(b.{name}) AS BIGINT) AS {name}" for name in sums)
    return (
        f"SELECT b.start, {group} AS {cube.name}_id{bucket}, {columns} "  # noqa: S608
        f"FROM {source} AS b{joined} {_calls(timed)} GROUP BY b.start, 2{bucket}"
    )


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
