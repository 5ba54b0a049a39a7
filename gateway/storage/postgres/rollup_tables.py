"""The tables of roll-ups: as they were made at first, and the cubes that they became."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.storage.rollups.adding import place
from gateway.storage.rollups.cubes import DAY, GROUP, MADE, PARTS, TOTAL, Types
from gateway.storage.rollups.first_form import first_tables, into_cubes
from gateway.storage.rollups.four_weeks import STATE, four_weeks_of, made_tables, members, tables


def digest(table: str, names: Sequence[str] = GROUP) -> str:
    """Of a group: an index holds no texts as long as these may be."""
    return f"md5(jsonb_build_array({', '.join(f'{table}{name}' for name in names)})::text)"


_TYPES = Types(
    'TEXT COLLATE "C"',
    "BIGINT",
    "JSONB",
    'id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, digest TEXT COLLATE "C" NOT NULL UNIQUE',
)
PLACING = tuple(
    statement
    for cube in PARTS
    for statement in place(
        cube, f"p.digest = {digest('g.', cube.columns)}", digest("", cube.columns)
    )
)
FIRST = ";\n\n".join(
    (
        *first_tables(_TYPES),
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
"""It touches no row, so that it takes no longer where there are many."""
CUBES = ";\n\n".join(into_cubes(_TYPES, PLACING))
"""A gateway of before finds its tables gone: it adds nothing to them that the cubes would lack."""

FOUR_WEEKS = ";\n\n".join(
    (
        *tables(_TYPES),
        "CREATE FUNCTION four_weeks_changed() RETURNS trigger LANGUAGE plpgsql AS "  # noqa: S608
        f"'BEGIN INSERT INTO {STATE} AS s VALUES ({four_weeks_of('NEW.start')}, 1, 0) "
        "ON CONFLICT (start) DO UPDATE SET changes = s.changes + 1, whole = 0; RETURN NULL; END'",
        f"CREATE TRIGGER four_weeks_change AFTER INSERT OR UPDATE ON {TOTAL.sums} "
        f"FOR EACH ROW WHEN (NEW.span = {DAY}) EXECUTE FUNCTION four_weeks_changed()",
    )
)
PLACES = ";\n\n".join(made_tables(_TYPES))
MEMBERS = tuple(
    statement
    for cube in MADE
    for statement in members(
        cube, f"p.digest = {digest('g.', cube.columns)}", digest("", cube.columns)
    )
)
