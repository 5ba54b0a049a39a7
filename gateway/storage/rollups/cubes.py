"""Which sums are kept: a cube has those of all rows that are alike in some of the dimensions.

A report is made of the smallest cube that tells its dimensions apart. Each has a table of sums, by
their span and when that starts, both in quarters of an hour since the epoch, and one of how long
calls took; a group is a number, and its values are in a table of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.storage.reports import COLUMNS, SUMMED
from gateway.types import MICRO

QUARTER_US = 900 * MICRO
QUARTER, HOUR, DAY = 1, 4, 96
"""Spans, in quarters of an hour. No time zone of today begins its hours at another instant."""
SIX_HOURS, WEEK, FOUR_WEEKS = 24, 672, 2_688
FIRST_WEEK = 384
"""A Monday. Four weeks begin there, and every four weeks from then on."""
HOURS_OF_WEEK, HALVES_OF_WEEK = -4, -2
"""Spans of sums over the same hour, or half an hour, of all four weeks: they start where that of
the first week does, so that an hour of the week is read from them as from others."""

TOLD = ("calls", "errors", "refused", "cold_starts", *SUMMED, "idle_nano")
"""What is summed of rows, in the order in which a report tells it."""
GROUP = (*COLUMNS.values(), "tags")
"""The columns that tell rows apart."""


class Cube(msgspec.Struct, frozen=True, kw_only=True):
    """``columns`` are those that it tells apart, ``spans`` those of its sums, ``timed`` those of
    how long calls took; ``weeks`` and ``weeks_timed`` are those that it has beside for four weeks
    that are over."""

    name: str
    columns: tuple[str, ...]
    spans: tuple[int, ...] = (DAY, HOUR, QUARTER)
    timed: tuple[int, ...]
    weeks: tuple[int, ...] = (SIX_HOURS, FOUR_WEEKS, HOURS_OF_WEEK, HALVES_OF_WEEK)
    weeks_timed: tuple[int, ...] = (FOUR_WEEKS,)
    made_of: str = ""
    """The name of the cube of whose groups its own are parts: it has sums of four weeks that are
    over alone, made of that one's."""

    @property
    def sums(self) -> str:
        """The table of its sums."""
        return f"rollup_{self.name}_sums"

    @property
    def durations(self) -> str:
        """The table of how long calls took."""
        return f"rollup_{self.name}_durations"

    @property
    def members(self) -> str:
        """Of one that is made of another: the table of that one's groups and its own."""
        return f"rollup_{self.name}_members"

    @property
    def groups(self) -> str:
        """The table of its groups' values; empty where all rows are one."""
        return f"rollup_{self.name}_groups" if self.columns else ""

    def has(self, span: int, *, timed: bool = False, over: bool = False) -> bool:
        """Whether it has sums of the span. ``over``: of four weeks that are."""
        kept, more = (self.timed, self.weeks_timed) if timed else (self.spans, self.weeks)
        return span in kept or (over and span in more)

    def tells(self, columns: Iterable[str]) -> bool:
        """Whether a report by them can be made of it."""
        return set(columns) <= set(self.columns)


TOTAL = Cube(name="total", columns=(), timed=(DAY, HOUR, QUARTER))
WHAT = Cube(
    name="what",
    columns=(
        *("plan", "model", "task", "backend", "price", "outcome", "reason", "kind", "error"),
        "route",
    ),
    timed=(DAY,),
)
WHO = Cube(name="who", columns=('"user"', "key_id", "plan", "kind", "tags"), timed=(DAY,))
FULL = Cube(name="full", columns=GROUP, timed=(DAY, HOUR), weeks=(FOUR_WEEKS,))
"""A finer one for how long calls took would be as large as the rows."""
CUBES = (TOTAL, WHAT, WHO, FULL)
"""Those to which rows are added; the smallest first."""


_OF_WEEK = (HOURS_OF_WEEK, HALVES_OF_WEEK)
_ALL_WEEKS = (HOUR, SIX_HOURS, DAY, FOUR_WEEKS, *_OF_WEEK)


def _made_of(cube: Cube, name: str, *columns: str, weeks: tuple[int, ...] = _ALL_WEEKS) -> Cube:
    return Cube(
        name=name,
        columns=columns,
        spans=(),
        timed=(),
        weeks=weeks,
        weeks_timed=(),
        made_of=cube.name,
    )


CALLERS = _made_of(WHO, "callers", '"user"', "key_id", "plan", "tags")
ASKED = _made_of(FULL, "asked", '"user"', "key_id", "plan", "model", "tags")
PLACED = _made_of(
    FULL, "placed", '"user"', "key_id", "plan", "backend", "price", "tags", weeks=_OF_WEEK
)
"""Of its days and four weeks there are few enough sums of ``FULL``."""
MADE = (CALLERS, ASKED, PLACED)
"""Those that are made of others."""
READ = (TOTAL, WHAT, CALLERS, WHO, ASKED, PLACED, FULL)
"""All; the smallest first."""
PARTS = (WHAT, WHO)
"""Those whose groups are parts of the groups of ``FULL``, which has their numbers."""


def smallest(
    columns: Iterable[str], span: int, *, timed: bool = False, over: bool = False
) -> Cube | None:
    """The smallest that has sums of the span by these columns; None where none has. ``over``: of
    four weeks that are."""
    for cube in READ:
        if cube.has(span, timed=timed, over=over) and cube.tells(columns):
            return cube
    return None


# --- the tables ----------------------------------------------------------------------------------


class Types(msgspec.Struct, frozen=True):
    """How a database writes the types of the tables' columns."""

    text: str
    integer: str
    tags: str
    group_id: str
    """Of a number that it gives itself, and what else a group has."""
    ends: str = ""
    """Behind a table without other order than its key's."""


def group_table(cube: Cube, types: Types) -> str:
    """The statement that makes it."""
    columns = (
        f"{name} {types.tags if name == 'tags' else types.text} NOT NULL" for name in cube.columns
    )
    return f"CREATE TABLE {cube.groups} ({types.group_id}, {', '.join(columns)})"


def sum_tables(types: Types) -> list[str]:
    """The statements that make them."""
    key = ("span", "start", "group_id")
    made = []
    for cube in CUBES:
        made.append(table(cube.sums, key, TOLD, types))
        made.append(table(cube.durations, (*key, "bucket"), ("calls",), types))
    return made


def table(name: str, key: tuple[str, ...], sums: tuple[str, ...], types: Types) -> str:
    """The statement that makes one whose sums have this key."""
    columns = ", ".join(f"{column} {types.integer} NOT NULL" for column in (*key, *sums))
    return f"CREATE TABLE {name} ({columns}, PRIMARY KEY ({', '.join(key)})){types.ends}"


def part_columns(types: Types) -> list[str]:
    """The statements that let a group of ``FULL`` have the numbers of its parts."""
    made = [f"ALTER TABLE {FULL.groups} ADD COLUMN {cube.name} {types.integer}" for cube in PARTS]
    unplaced = " OR ".join(f"{cube.name} IS NULL" for cube in PARTS)
    return [*made, f"CREATE INDEX rollup_unplaced ON {FULL.groups} (id) WHERE {unplaced}"]
