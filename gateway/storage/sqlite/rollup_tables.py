"""The tables of roll-ups: as they were made at first, and the cubes that they became."""

from __future__ import annotations

from gateway.storage.rollups.adding import place
from gateway.storage.rollups.cubes import GROUP, PARTS, Types
from gateway.storage.rollups.first_form import first_tables, into_cubes

_NAMES = ", ".join(GROUP)


def same(one: str, other: str, names: tuple[str, ...] = GROUP) -> str:
    """The condition that two groups are one."""
    return " AND ".join(f"{one}.{name} = {other}.{name}" for name in names)


_TYPES = Types("TEXT", "INTEGER", "TEXT", "id INTEGER PRIMARY KEY", " STRICT, WITHOUT ROWID")
PLACING = tuple(
    statement for cube in PARTS for statement in place(cube, same("p", "g", cube.columns))
)
FIRST = (
    *first_tables(_TYPES),
    f"CREATE UNIQUE INDEX rollup_groups_by_name ON rollup_groups ({_NAMES})",
    "CREATE TABLE rollup_state AS SELECT '' AS rolled_up_to, 0 AS archived_before",
)
_INDEXES = tuple(
    f"CREATE UNIQUE INDEX {cube.groups}_by_name ON {cube.groups} ({', '.join(cube.columns)})"
    for cube in PARTS
)
CUBES = tuple(into_cubes(_TYPES, (*_INDEXES, *PLACING)))
