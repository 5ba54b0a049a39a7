"""The tables of roll-ups: as they were made at first, and the cubes that they became."""

from __future__ import annotations

from gateway.storage.rollups.adding import place
from gateway.storage.rollups.cubes import DAY, GROUP, MADE, PARTS, TOTAL, Types
from gateway.storage.rollups.first_form import first_tables, into_cubes
from gateway.storage.rollups.four_weeks import STATE, four_weeks_of, made_tables, members, tables

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

# The trigger's own ON CONFLICT would be that of the statement that it follows.
_CHANGED = four_weeks_of("NEW.start")
_BY_NAME = tuple(
    f"CREATE UNIQUE INDEX IF NOT EXISTS {cube.groups}_by_name "
    f"ON {cube.groups} ({', '.join(cube.columns)})"
    for cube in MADE
)
FOUR_WEEKS = (
    *tables(_TYPES),
    *_BY_NAME,
    *(
        f"CREATE TRIGGER IF NOT EXISTS four_weeks_{name} AFTER {name} ON {TOTAL.sums} "  # noqa: S608
        f"WHEN NEW.span = {DAY} BEGIN "
        f"INSERT INTO {STATE} SELECT {_CHANGED}, 0, 0 "
        f"WHERE NOT EXISTS (SELECT 1 FROM {STATE} WHERE start = {_CHANGED}); "
        f"UPDATE {STATE} SET changes = changes + 1, whole = 0 WHERE start = {_CHANGED}; END"
        for name in ("INSERT", "UPDATE")
    ),
)
PLACES = (*made_tables(_TYPES), *_BY_NAME)
MEMBERS = tuple(
    statement for cube in MADE for statement in members(cube, same("p", "g", cube.columns))
)
