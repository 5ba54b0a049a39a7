"""Four weeks that are over are summed once more, coarser: whole, by six hours, and by the hours of
the week; and by who asked for which model. Made of the sums of hours, so no row is read for it.

``rollup_four_weeks`` has four weeks that have sums, how often these changed, and whether the coarse
ones are whole. A trigger beside the sums says so of each change, whichever version of Spillgate
makes it: what comes late is read from hours until its four weeks are summed once more.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.storage.rollups.cubes import (
    CUBES,
    DAY,
    FIRST_WEEK,
    FOUR_WEEKS,
    HALVES_OF_WEEK,
    HOUR,
    HOURS_OF_WEEK,
    MADE,
    QUARTER,
    QUARTER_US,
    READ,
    SIX_HOURS,
    TOLD,
    TOTAL,
    WEEK,
    Cube,
    Types,
    group_table,
    table,
)
from gateway.types import MICRO

STATE = "rollup_four_weeks"
_BY_NAME = {cube.name: cube for cube in CUBES}
KEY = ("span", "start", "group_id")
_FORM = 2
"""What ``whole`` is of four weeks that have all of today's sums. What an earlier version has summed
up, which may still run, has another number and is summed up again."""
WHOLE = f"SELECT start FROM {STATE} WHERE whole = {_FORM} ORDER BY start"  # noqa: S608
ENDED = f"UPDATE {STATE} SET whole = {_FORM} WHERE start = {{}} AND changes = {{}}"  # noqa: S608
UNCHANGED = f"SELECT 1 FROM {STATE} WHERE start = {{}} AND changes = {{}} AND whole <> {_FORM}"  # noqa: S608
_NEXT = (
    f"SELECT start, changes FROM {STATE} WHERE whole <> {_FORM} AND start <= {{}} "  # noqa: S608
    "ORDER BY start DESC LIMIT 1"
)


class Coarse(msgspec.Struct, frozen=True):
    """Sums of one span: the table that has them, and the query that makes them."""

    table: str
    columns: tuple[str, ...]
    span: int
    first: int
    last: int
    """From where to where they start, in quarters of an hour."""
    query: str


def next_over(now: float) -> str:
    """The statement for four weeks that have been over for a day, and how often they changed."""
    return _NEXT.format(round(now * MICRO) // QUARTER_US - FOUR_WEEKS - DAY)


def four_weeks_of(start: str) -> str:
    """SQL for the start of the four weeks in which a quarter of an hour lies."""
    return f"(({start} - {FIRST_WEEK}) / {FOUR_WEEKS} * {FOUR_WEEKS} + {FIRST_WEEK})"


def made_tables(types: Types) -> list[str]:
    """The statements that make the tables of the cubes that are made of others, of those that are
    not there: a later version may have more, and one may go back to an earlier and come again."""
    made = []
    for cube in MADE:
        made.append(group_table(cube, types))
        made.append(table(cube.members, ("source_id",), ("group_id",), types))
        made.append(table(cube.sums, KEY, TOLD, types))
    return [_if_not_there(each) for each in made]


def _if_not_there(statement: str) -> str:
    return statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)


def tables(types: Types) -> list[str]:
    """The statements that make the tables, with what there is to be summed. They may be there."""
    return [
        _if_not_there(table(STATE, ("start",), ("changes", "whole"), types)),
        *made_tables(types),
        f"INSERT INTO {STATE} (start, changes, whole) "  # noqa: S608
        f"SELECT DISTINCT {four_weeks_of('start')}, 0, 0 FROM {TOTAL.sums} WHERE span = {DAY} "
        "ON CONFLICT DO NOTHING",
    ]


def members(cube: Cube, same: str, digest: str = "") -> list[str]:
    """The statements that tell new groups of what a cube is made of theirs in it; ``same`` says
    when its group ``p`` is that of ``g``, ``digest`` what its table has beside."""
    names, source = ", ".join(cube.columns), _BY_NAME[cube.made_of].groups
    head, made = ("digest, ", f"{digest}, ") if digest else ("", "")
    new = f"NOT EXISTS (SELECT 1 FROM {cube.members} AS m WHERE m.source_id = g.id)"  # noqa: S608
    return [
        f"INSERT INTO {cube.groups} ({head}{names}) SELECT DISTINCT {made}{names} "  # noqa: S608
        f"FROM {source} AS g WHERE {new} ON CONFLICT DO NOTHING",
        f"INSERT INTO {cube.members} (source_id, group_id) SELECT g.id, (SELECT p.id "  # noqa: S608
        f"FROM {cube.groups} AS p WHERE {same}) FROM {source} AS g WHERE {new}",
    ]


def coarse(start: int) -> Iterator[Coarse]:
    """All that is made of four weeks, in this order: some are made of others."""
    for cube in READ:
        for span in cube.weeks:
            yield _coarse(cube, span, start)
        for span in cube.weeks_timed:
            yield _coarse(cube, span, start, timed=True)


def _coarse(cube: Cube, span: int, start: int, *, timed: bool = False) -> Coarse:
    width = WEEK if span in (HOURS_OF_WEEK, HALVES_OF_WEEK) else FOUR_WEEKS
    sums, more = (("calls",), ("bucket",)) if timed else (TOLD, ())
    source, finer, group = _source(cube, span, timed=timed)
    told = [str(span), _starts(span, start), group, *(f"r.{name}" for name in more)]
    told += [f"CAST(SUM(r.{name}) AS BIGINT)" for name in sums]
    columns = (*KEY, *more, *sums)
    grouped = ", ".join(str(number) for number in range(2, 4 + len(more)))
    named = ", ".join(f"{sql} AS {name}" for sql, name in zip(told, columns, strict=True))
    return Coarse(
        table=cube.durations if timed else cube.sums,
        columns=columns,
        span=span,
        first=start,
        last=start + width,
        query=f"SELECT {named} FROM {source} WHERE r.span = {finer} AND r.start >= {start} "  # noqa: S608
        f"AND r.start < {start + FOUR_WEEKS} GROUP BY {grouped}",
    )


def _source(cube: Cube, span: int, *, timed: bool) -> tuple[str, int, str]:
    """What they are made of, its span, and the number of a group there."""
    finer = QUARTER if span == HALVES_OF_WEEK else HOUR
    if span == FOUR_WEEKS:
        finer = DAY
    if cube.made_of and (finer == span or finer not in cube.weeks):
        source = _BY_NAME[cube.made_of].sums
        joined = f"{source} AS r JOIN {cube.members} AS m ON m.source_id = r.group_id"
        return joined, finer, "m.group_id"
    return f"{cube.durations if timed else cube.sums} AS r", finer, "r.group_id"


def _starts(span: int, start: int) -> str:
    if span == FOUR_WEEKS:
        return str(start)
    if span in (HOUR, DAY, SIX_HOURS):
        return f"r.start / {span} * {span}"
    return f"{start} + (r.start - {start}) % {WEEK} / {-span} * {-span}"
