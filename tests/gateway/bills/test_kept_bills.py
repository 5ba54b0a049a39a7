"""Of each day stands the bill that told of it last, and nothing is counted twice."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.types import Bill, BillLine
from gateway.bills.kept_bills import FILE, KeptBill, KeptBills, joined, of_ended_days
from gateway.bills.periods import DAY, Period
from gateway.storage.base import StorageUnavailable

ALL = Period(0.0, 100.0 * DAY)


def a_bill(start: int, end: int, lines: list[tuple[int, int]], nano: int = 1) -> KeptBill:
    told = tuple(
        BillLine(start=float(first * DAY), end=float(last * DAY), cost_nano=nano)
        for first, last in lines
    )
    bill = Bill(start=float(start * DAY), end=float(end * DAY), lines=told)
    return KeptBill(bill=bill, source="invoice.csv", at=float(end * DAY))


@st.composite
def bills(draw: st.DrawFn) -> KeptBill:
    """Of some days, with lines of one day and of several."""
    start = draw(st.integers(1, 20))
    end = start + draw(st.integers(1, 10))
    lines, at = [], start
    while at < end:
        until = min(end, at + draw(st.integers(1, 3)))
        lines += [(at, until)] if draw(st.booleans()) else []
        at = until
    return a_bill(start, end, lines, draw(st.integers(1, 10**9)))


@given(st.lists(bills(), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_each_day_is_told_by_the_last_bill_of_it_or_by_none(told: list[KeptBill]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = KeptBills(Path(folder) / FILE)
        for one in told:
            kept.put("burst", one)
        found = kept.within(ALL)["burst"]
    edges = [(one.bill.start, one.bill.end) for one in found]
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(edges))
    for one in found:
        for line in one.bill.lines:
            assert one.bill.start <= line.start < line.end <= one.bill.end
            last = [
                each for each in told if each.bill.start < line.end > line.start < each.bill.end
            ]
            assert line in last[-1].bill.lines
    kept_lines = [line for one in found for line in one.bill.lines]
    assert all(line in kept_lines for line in told[-1].bill.lines)
    assert sum(bill.cost_nano for bill in joined(found)) == sum(one.bill.cost_nano for one in found)


def _touches(bill: Bill, line: BillLine) -> bool:
    return bill.start < line.end and line.start < bill.end


def test_days_that_follow_one_another_are_one_bill() -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = KeptBills(Path(folder) / FILE)
        kept.put("burst", a_bill(1, 4, [(1, 2), (2, 3), (3, 4)]))
        kept.put("burst", a_bill(3, 6, [(3, 4), (4, 5)]))
        kept.put("burst", a_bill(8, 9, [(8, 9)]))
        found = joined(kept.within(ALL)["burst"])
    assert [(bill.start / DAY, bill.end / DAY, bill.cost_nano) for bill in found] == [
        (1, 6, 4),
        (8, 9, 1),
    ]


def test_a_file_that_is_none_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("no database at all, but text " * 40)
    kept = KeptBills(tmp_path / FILE)
    with pytest.raises(StorageUnavailable, match=r"bills .*bills\.db"):
        kept.within(ALL)
    with pytest.raises(StorageUnavailable):
        kept.put("burst", a_bill(1, 2, []))


@pytest.mark.parametrize(
    "told",
    [b"", b"no JSON", b'{"bill": 1}', b'{"source": "\xff"}', b"{}"],
    ids=["nothing", "no-json", "another-shape", "no-utf-8", "no-bill"],
)
def test_what_cannot_be_read_goes_with_the_next_bill_of_its_days(
    told: bytes, tmp_path: Path
) -> None:
    kept = KeptBills(tmp_path / FILE)
    for backend in ("burst", "gone"):
        kept.put(backend, a_bill(1, 4, [(1, 2)]))
        kept.put(backend, a_bill(6, 7, [(6, 7)]))
        spoil(tmp_path / FILE, backend, told)
    assert [one.bill.start / DAY for one in kept.within(ALL)["burst"]] == [6]

    kept.put("burst", a_bill(3, 5, [(3, 4)]))

    assert [one.bill.start / DAY for one in kept.within(ALL)["burst"]] == [3, 6]
    assert [one.bill.start / DAY for one in kept.within(ALL)["gone"]] == [6]


def spoil(path: Path, backend: str, told: bytes) -> None:
    """The row of its first day."""
    file = sqlite3.connect(path)
    sql = "UPDATE bills SET told = ? WHERE backend = ? AND start = ?"
    file.execute(sql, (told, backend, float(DAY)))
    file.commit()
    file.close()


@pytest.mark.parametrize(
    ("told_day", "ends"),
    [(1.5, None), (3.0, 3), (3.9, 3), (4.5, 3), (5.0, 5), (9.0, 6)],
    ids=["before", "at a midnight", "later", "within a line of two days", "after it", "at last"],
)
def test_what_was_told_before_a_day_had_ended_says_nothing_of_it(
    told_day: float, ends: int | None
) -> None:
    whole = a_bill(2, 6, [(2, 3), (3, 5), (5, 6)])
    kept = of_ended_days(msgspec.structs.replace(whole, at=told_day * DAY))
    assert (None if kept is None else kept.bill.end / DAY) == ends
