"""The statements of a report: the sum over pieces of cubes, rows around them, and rows that are in
no sum yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from gateway.storage.calendar import MOMENTS, Calendar
from gateway.storage.queries import UsageQuery
from gateway.storage.reports import (
    Dialect,
    Statement,
    durations_of,
    filters_of,
    row_durations,
    rows_part,
    sum_of,
)
from gateway.storage.rollups.cubes import DAY, HOUR, QUARTER, QUARTER_US, TOLD, Cube
from gateway.storage.rollups.cuts import Cut, cube_for
from gateway.storage.rollups.stretches import Piece

_SHORTEST = frozenset({"day", "hour"})
"""Moments that few sums of one group share."""
_MOST_NAMED = 20_000
_START_US = f"(r.start * {QUARTER_US})"


class Unsummed(msgspec.Struct, frozen=True):
    """Rows that are in no sum yet: their condition, and how it is said when they began, so that the
    database finds them by the better of the two."""

    condition: str
    instant: str = "started_at"


class Reading(msgspec.Struct, frozen=True):
    """A narrowed query, and how it is read."""

    query: UsageQuery
    dialect: Dialect
    calendar: Calendar | None
    cut: Cut | None
    """None: from rows alone."""
    waiting: Unsummed

    def sums(self) -> tuple[str, list[Any]]:
        """The statement of its report, and the parameters."""
        statement = Statement(self.dialect)
        parts = [self._part(statement, piece) for piece in self._pieces()]
        for query, conditions in self._rows():
            parts.append(rows_part(query, statement, self.calendar, *conditions))
        return sum_of(self.query, parts), statement.values

    def durations(self) -> tuple[str, list[Any]]:
        """The same of how long calls took."""
        statement = Statement(self.dialect)
        parts = [self._durations_part(statement, piece) for piece in self._pieces()]
        for query, conditions in self._rows():
            parts.append(row_durations(query, statement, self.calendar, *conditions))
        return durations_of(self.query, parts), statement.values

    def _pieces(self) -> Iterable[Piece]:
        return () if self.cut is None else self.cut.pieces

    def _rows(self) -> Iterator[tuple[UsageQuery, list[str]]]:
        """What is read as rows: queries, and what else must hold for them."""
        if self.cut is None:
            yield self.query, []
            return
        timeless = msgspec.structs.replace(self.query, since=None, until=None)
        for begin, end in self.cut.ends:
            yield timeless, [f"started_at >= {begin}", f"started_at < {end}"]
        first, last = self.cut.summed
        at = self.waiting.instant
        later = [] if first is None else [f"{at} >= {first}"]
        earlier = [] if last is None else [f"{at} < {last}"]
        yield timeless, [self.waiting.condition, *later, *earlier]

    # --- pieces ---

    def _part(self, statement: Statement, piece: Piece) -> str:
        cube = cube_for(self.query, piece)
        grouping = self._grouping(cube, piece)
        sums = [f"{_summed(name, grouping)} AS {name}" for name in TOLD]
        grouped = f" GROUP BY {', '.join(grouping)}" if grouping else ""
        return self._select(statement, piece, cube, cube.sums, sums) + grouped

    def _durations_part(self, statement: Statement, piece: Piece) -> str:
        cube = cube_for(self.query, piece, timed=True)
        counts = ["r.bucket AS bucket", "r.calls AS calls"]
        return self._select(statement, piece, cube, cube.durations, counts)

    def _select(
        self, statement: Statement, piece: Piece, cube: Cube, table: str, told: Sequence[str]
    ) -> str:
        columns = ", ".join((*self._groups(statement), *told))
        where = self._where(statement, piece, cube)
        return f"SELECT {columns} FROM {_from(table, cube)} WHERE {where}"  # noqa: S608

    def _groups(self, statement: Statement) -> list[str]:
        return [
            f"{statement.dimension(name, _START_US, self.calendar, 'g.')} AS g{index}"
            for index, name in enumerate(self.query.group_by)
        ]

    def _where(self, statement: Statement, piece: Piece, cube: Cube) -> str:
        conditions = [f"r.span = {piece.span}"]
        conditions += starts_where(piece)
        conditions += ["g.id = r.group_id"] if cube.groups else []
        conditions += self._splits(piece)
        more = filters_of(self.query, statement, self.calendar, _START_US, "g.")
        return " AND ".join(conditions + more)

    def _splits(self, piece: Piece) -> list[str]:
        moment = piece.whole or piece.divided
        if not moment:
            return []
        assert self.calendar is not None, "a moment has a calendar"
        begins = f"(r.start / {HOUR} * {HOUR * QUARTER_US})"
        ends = f"({begins} + {HOUR * QUARTER_US - 1})"
        one, other = (self.calendar.expression(moment, at) for at in (begins, ends))
        return [f"{one} {'=' if piece.whole else '<>'} {other}"]

    def _grouping(self, cube: Cube, piece: Piece) -> list[str]:
        """What sums are added up by at first, before their groups' values are looked at; nothing
        where no two would come together."""
        moments = [f"g{index}" for index, name in enumerate(self.query.group_by) if name in MOMENTS]
        if not cube.groups or len(moments) == len(self.query.group_by):
            return ["r.start"]  # the order of the table: nothing needs to be sorted
        if _SHORTEST.intersection(self.query.group_by) and piece.span != QUARTER:
            return []  # each sum is of another moment, or nearly
        return ["g.id", *moments]


def starts_where(piece: Piece) -> list[str]:
    """The condition on when sums start."""
    if named := _few_of_day(piece):
        return [f"r.start IN ({', '.join(map(str, named))})"]
    conditions = [] if piece.first is None else [f"r.start >= {piece.first}"]
    conditions += [] if piece.last is None else [f"r.start < {piece.last}"]
    at = f"r.start % {DAY}"
    within = [f"({at} >= {first} AND {at} < {last})" for first, last in piece.of_day]
    return [*conditions, f"({' OR '.join(within)})"] if within else conditions


def _few_of_day(piece: Piece) -> list[int]:
    """The starts themselves, where a database has to look at few of the sums for them; none where
    they are most, or too many to name."""
    if piece.first is None or piece.last is None or piece.first % DAY:
        return []
    of_day = [at for first, last in piece.of_day for at in range(first, last, piece.span)]
    if len(of_day) * piece.span * 2 > DAY:
        return []
    days = range(piece.first, piece.last, DAY)
    if len(days) * len(of_day) > _MOST_NAMED:
        return []
    return [day + at for day in days for at in of_day]


def _summed(name: str, grouping: Sequence[str]) -> str:
    return f"CAST(SUM(r.{name}) AS BIGINT)" if grouping else f"r.{name}"


def _from(table: str, cube: Cube) -> str:
    # A cross join keeps this order in SQLite: there are far more sums than groups.
    return f"{table} AS r CROSS JOIN {cube.groups} AS g" if cube.groups else f"{table} AS r"
