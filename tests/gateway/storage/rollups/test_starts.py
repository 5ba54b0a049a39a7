"""Sums of some hours of each day are named one by one where a database would else pass over many
others for them: they are the same sums."""

from __future__ import annotations

import re
import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.rollups.cubes import DAY, HOUR, QUARTER, SIX_HOURS
from gateway.storage.rollups.reading import starts_where
from gateway.storage.rollups.stretches import Piece

FIRST = 20_000 * DAY


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Of whole days, and of some of their hours."""
    span = draw(st.sampled_from([QUARTER, HOUR, SIX_HOURS]))
    edges = st.integers(0, DAY // span).map(lambda at: at * span)
    of_day = draw(st.lists(st.tuples(edges, edges), max_size=2))
    days = draw(st.integers(1, 3))
    told = tuple(each for each in of_day if each[0] < each[1])
    return Piece(span, FIRST, FIRST + days * DAY, of_day=told)


@given(pieces())
def test_the_same_sums_are_read_by_name_and_by_their_hours(piece: Piece) -> None:
    conditions = " AND ".join(starts_where(piece))
    around = range(FIRST - DAY, FIRST + 5 * DAY, piece.span)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE r (start INTEGER)")
    connection.executemany("INSERT INTO r VALUES (?)", [(at,) for at in around])
    found = connection.execute(f"SELECT start FROM r WHERE {conditions}").fetchall()
    connection.close()
    assert piece.first is not None
    assert piece.last is not None
    wanted = [
        at
        for at in range(piece.first, piece.last, piece.span)
        if not piece.of_day or any(first <= at % DAY < last for first, last in piece.of_day)
    ]
    assert sorted(at for (at,) in found) == wanted


def test_a_few_hours_of_many_days_are_named_and_most_hours_are_not() -> None:
    few = Piece(HOUR, FIRST, FIRST + 364 * DAY, of_day=((76, DAY),))
    [named] = starts_where(few)
    assert len(re.findall(r"\d+", named)) == 364 * 5
    most = Piece(SIX_HOURS, FIRST, FIRST + 364 * DAY, of_day=((0, 72),))
    assert all(" IN " not in each for each in starts_where(most))
    decades = Piece(HOUR, FIRST, FIRST + 9_000 * DAY, of_day=((76, DAY),))
    assert all(" IN " not in each for each in starts_where(decades))
    assert all(" IN " not in each for each in starts_where(Piece(HOUR, FIRST, None)))
