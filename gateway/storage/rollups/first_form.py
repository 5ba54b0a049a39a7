"""How sums were kept at first, and how they become cubes.

There were those of hours and days by all dimensions, in two tables that told starts and spans in
hours. They are the sums of rows that may be archived by now, so the cubes begin with them; quarters
of an hour have sums from the first hour on of which nothing was summed before.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.storage.rollups.cubes import (
    CUBES,
    FULL,
    HOUR,
    PARTS,
    TOLD,
    Cube,
    Types,
    group_table,
    part_columns,
    sum_tables,
)

_KEY = ("span", "start", "group_id")
_SUMMED = (
    *("input_tokens", "output_tokens", "queue_us", "cold_us", "exec_us", "gpu_us"),
    "cost_nano",
)
_SUMS = ("entries", "cold_starts", *_SUMMED)
_NAMES = (
    *('"user"', "key_id", "plan", "model", "task", "backend", "price", "outcome", "reason"),
    *("kind", "error", "route", "tags"),
)
_GROUPS = "rollup_groups"
_ERROR = "g.kind = 'call' AND g.outcome IN ('error', 'interrupted')"
_MEASURES = {
    "calls": "CASE WHEN g.kind = 'call' THEN r.entries ELSE 0 END",
    "errors": f"CASE WHEN {_ERROR} THEN r.entries ELSE 0 END",
    "refused": f"CASE WHEN {_ERROR} AND g.backend = '' THEN r.entries ELSE 0 END",
    "cold_starts": "r.cold_starts",
    **{name: f"r.{name}" for name in _SUMMED},
    "idle_nano": "CASE WHEN g.kind = 'idle' THEN r.cost_nano ELSE 0 END",
}
assert tuple(_MEASURES) == TOLD


def first_tables(types: Types) -> list[str]:
    """The statements that made them."""
    group = ", ".join(
        f"{name} {types.tags if name == 'tags' else types.text} NOT NULL" for name in _NAMES
    )
    made = [f"CREATE TABLE {_GROUPS} ({types.group_id}, {group})"]
    for table, key, sums in (
        ("rollups", _KEY, _SUMS),
        ("rollup_durations", (*_KEY, "bucket"), ("entries",)),
    ):
        columns = ", ".join(f"{name} {types.integer} NOT NULL" for name in (*key, *sums))
        made.append(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({', '.join(key)})){types.ends}")
    return made


def into_cubes(types: Types, placing: Sequence[str]) -> list[str]:
    """The statements that make cubes of them; ``placing`` gives groups their parts' numbers."""
    return [
        f"ALTER TABLE {_GROUPS} RENAME TO {FULL.groups}",
        *part_columns(types),
        *(group_table(cube, types) for cube in PARTS),
        *sum_tables(types),
        *placing,
        *(statement for cube in CUBES for statement in _taken_over(cube)),
        f"ALTER TABLE rollup_state ADD COLUMN quarters_from {types.integer} NOT NULL DEFAULT 0",
        "UPDATE rollup_state SET quarters_from = "  # noqa: S608
        f"COALESCE((SELECT MAX(start) + 1 FROM rollups WHERE span = 1), 0) * {HOUR}",
        "DROP TABLE rollups",
        "DROP TABLE rollup_durations",
    ]


def _taken_over(cube: Cube) -> list[str]:
    group = {"total": "r.group_id * 0", "full": "g.id"}.get(cube.name, f"g.{cube.name}")
    sums = ", ".join(f"CAST(SUM({sql}) AS BIGINT)" for sql in _MEASURES.values())
    return [
        _inserted(cube.sums, "", ", ".join(TOLD), sums, "rollups", group, ""),
        _inserted(
            cube.durations,
            ", bucket",
            "calls",
            "CAST(SUM(r.entries) AS BIGINT)",
            "rollup_durations",
            group,
            f" WHERE r.span * {HOUR} IN ({', '.join(map(str, cube.timed))})",
        ),
    ]


def _inserted(
    table: str, bucket: str, names: str, sums: str, source: str, group: str, where: str
) -> str:
    grouped = f"r.span, r.start, {group}{bucket.replace(' ', ' r.')}"
    times = f"r.span * {HOUR}, r.start * {HOUR}, {group}{bucket.replace(' ', ' r.')}"
    return (
        f"INSERT INTO {table} (span, start, group_id{bucket}, {names}) "  # noqa: S608
        f"SELECT {times}, {sums} FROM {source} AS r JOIN {FULL.groups} AS g "
        f"ON g.id = r.group_id{where} GROUP BY {grouped}"
    )
