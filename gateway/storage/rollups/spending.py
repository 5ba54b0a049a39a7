"""The statement of what limits count: sums where they lie within one step of a window, rows where a
step ends within a quarter of an hour, and rows that are in no sum yet. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.storage.rollups.cubes import DAY, HOUR, QUARTER, QUARTER_US, WHAT, WHO, Cube
from gateway.storage.rollups.cuts import taken_apart
from gateway.storage.rollups.reading import Unsummed
from gateway.storage.rollups.stretches import Piece
from gateway.storage.spent import SpentQuery
from gateway.types import MICRO

MOST_STEPS = 200
"""A window has some sixty. More are read from rows: somebody's clock was wrong."""
_COUNTED = {
    "calls": "CASE WHEN kind = 'call' THEN 1 ELSE 0 END",
    "gpu_us": "gpu_us",
    "cost_nano": "cost_nano",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
}
_SIDES: dict[str, tuple[Cube, tuple[str, ...]]] = {
    "callers": (WHO, ("key_id", '"user"', "plan", "CAST({}tags AS TEXT)")),
    "places": (WHAT, ("model", "backend")),
}
_CHARGED = "kind NOT IN ('idle', 'correction')"
"""No limit holds for the others."""


class Sources(msgspec.Struct, frozen=True):
    """What a ledger has. ``waiting`` are rows that are in no sum, ``quarters_from``
    the first quarter of an hour that has sums, ``last_us`` when the newest row began; None for
    ``waiting``: nothing is summed yet."""

    waiting: Unsummed | None
    quarters_from: int
    last_us: int


def spent_statement(query: SpentQuery, sources: Sources) -> str:
    """It gives the columns that tell the calls of the query's side apart, the step, and sums."""
    parts = list(_Parts(query, sources).all())
    _, columns = _SIDES[query.side]
    names = ", ".join(f"k{index}" for index in range(len(columns)))
    sums = ", ".join(f"CAST(SUM({name}) AS BIGINT)" for name in _COUNTED)
    return (
        f"SELECT {names}, step, {sums} FROM ({' UNION ALL '.join(parts)}) AS parts "  # noqa: S608
        f"GROUP BY {names}, step ORDER BY {names}, step"
    )


class _Parts:
    """Statements whose rows together are what is asked."""

    def __init__(self, query: SpentQuery, sources: Sources) -> None:
        self._query = query
        self._sources = sources
        self._since = round(query.since * MICRO)
        self._cube, self._columns = _SIDES[query.side]

    def all(self) -> Iterator[str]:
        spans = self._spans()
        waiting = self._sources.waiting
        if waiting is None or not spans:
            yield self._rows(f"started_at >= {self._since}")
            return
        pieces, ends = taken_apart(self._since, None, spans)
        divided: list[int] = []
        for piece in pieces:
            yield from self._piece(piece, spans, divided)
        finest = spans[-1] * QUARTER_US
        for begin, end in (*ends, *((at * QUARTER_US, at * QUARTER_US + finest) for at in divided)):
            yield self._rows(f"started_at >= {begin} AND started_at < {end}")
        first = min(piece.first or 0 for piece in pieces) * QUARTER_US
        apart = [f"started_at / {finest} NOT IN ({_list(at // spans[-1] for at in divided)})"]
        yield self._rows(
            " AND ".join(
                [waiting.condition, f"{waiting.instant} >= {first}", *(apart if divided else [])]
            )
        )

    def _spans(self) -> tuple[int, ...]:
        """Those of the sums that are read, the longest first."""
        step = self._query.step_us
        known = [DAY, HOUR, QUARTER]
        if self._since < self._sources.quarters_from * QUARTER_US:
            known.remove(QUARTER)
        if not step:
            return tuple(known)
        if (self._sources.last_us - self._since) // step > MOST_STEPS:
            return ()
        return tuple(span for span in known if span != DAY and span * QUARTER_US <= step)

    def _piece(self, piece: Piece, spans: tuple[int, ...], divided: list[int]) -> Iterator[str]:
        """``divided`` learns which of the shortest sums lie in more than one step."""
        cut = list(self._divided(piece))
        yield self._sums(piece, f"r.start NOT IN ({_list(cut)})" if cut else "TRUE")
        if piece.span == spans[-1]:
            divided += cut
            return
        for at in cut:
            inner = Piece(spans[spans.index(piece.span) + 1], at, at + piece.span)
            yield from self._piece(inner, spans, divided)

    def _divided(self, piece: Piece) -> Iterator[int]:
        """The starts of the piece's sums within which a step ends."""
        step = self._query.step_us
        if not step:
            return
        width = piece.span * QUARTER_US
        assert piece.first is not None, "spending has a beginning"
        begin = piece.first * QUARTER_US
        end = self._sources.last_us if piece.last is None else piece.last * QUARTER_US - 1
        for at in range(begin // step * step + step, end + 1, step):
            if at % width:
                yield at // width * piece.span

    def _sums(self, piece: Piece, more: str) -> str:
        until = "" if piece.last is None else f" AND r.start < {piece.last}"
        sums = ", ".join(f"r.{name} AS {name}" for name in _COUNTED)
        return (
            f"SELECT {self._told('g.')}, {self._step(f'(r.start * {QUARTER_US})')} AS step, {sums} "  # noqa: S608
            f"FROM {self._cube.sums} AS r CROSS JOIN {self._cube.groups} AS g "
            f"WHERE r.span = {piece.span} AND r.start >= {piece.first}{until} "
            f"AND g.id = r.group_id AND g.{_CHARGED} AND {more}"
        )

    def _rows(self, condition: str) -> str:
        counted = ", ".join(f"{sql} AS {name}" for name, sql in _COUNTED.items())
        return (
            f"SELECT {self._told('')}, {self._step('started_at')} AS step, {counted} "  # noqa: S608
            f"FROM entries WHERE {_CHARGED} AND {condition}"
        )

    def _told(self, table: str) -> str:
        columns = (
            name.format(table) if "{}" in name else f"{table}{name}" for name in self._columns
        )
        return ", ".join(f"{column} AS k{index}" for index, column in enumerate(columns))

    def _step(self, instant: str) -> str:
        return f"{instant} / {self._query.step_us}" if self._query.step_us else "0"


def _list(numbers: Iterator[int] | list[int]) -> str:
    return ", ".join(map(str, numbers))
