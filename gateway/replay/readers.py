"""Recordings from files: CSV or JSON lines, plain or gzip, a folder of them, or ``-``."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from gateway.replay.formats import Columns, Format, Row, format_of, is_absolute, named
from gateway.replay.traffic import DAY_S, Arrival

_GZIP = b"\x1f\x8b"
_SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
_LONGEST = 1 << 26
"""Characters of a cell: more than any row's history has."""
_NOW_AND_THEN = 20_000


class TraceFile(msgspec.Struct, frozen=True):
    """What a file has."""

    arrivals: list[Arrival]
    """In no order."""
    format: str
    """Its name."""
    text: bool
    """Calls are of text."""
    left_out: int
    """Lines that are no call that ran, or of another model."""
    weekday: int | None = None
    """Of its first day (UTC), 0 for a Monday; None where it does not say."""


class BadRecording(ValueError):
    """A recording that cannot be read: which file, which line, and what to do."""


def read(
    place: str,
    *,
    columns: Columns | None = None,
    model: str | None = None,
    of_ledger_alone: bool = False,
    advanced: Callable[[int], object] = lambda _: None,
) -> TraceFile:
    """Reads a file, every recording in a folder, or standard input for ``-``. ``model``: of those
    calls alone, where the recording names models; ``of_ledger_alone``: and where these are our
    own. ``advanced`` is told the number of lines.

    Instants since 1970 are told from midnight (UTC) of the first day. Raises BadRecording.
    """
    reading = _Reading(columns, model, of_ledger_alone, advanced)
    try:
        for path in _files(place):
            with _opened(path) as lines:
                reading.file(lines, "standard input" if path is None else path.name)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadRecording(f"{place}: {error}") from None
    return reading.found(place)


class _Reading:
    def __init__(
        self,
        columns: Columns | None,
        model: str | None,
        of_ledger_alone: bool,
        advanced: Callable[[int], object],
    ) -> None:
        self._format = None if columns is None else _by_hand(columns)
        self._by_hand = columns is not None
        self._model = model
        self._of_ledger_alone = of_ledger_alone
        self._of_all = model is None
        self._advanced = advanced
        self._arrivals: list[Arrival] = []
        self._lines = 0

    def file(self, lines: IO[str], name: str) -> None:
        rows = _rows(lines, name)
        first = next(rows, None)
        if first is None:
            return
        number, row = first
        try:
            form = self._chosen(frozenset(row))
        except ValueError as error:
            raise BadRecording(f"{name}: {error}") from None
        self._line(form, row, name, number)
        for number, row in rows:
            self._line(form, row, name, number)

    def _chosen(self, columns: frozenset[str]) -> Format:
        if not self._by_hand:
            self._format = format_of(columns)
        assert self._format is not None
        missing = self._format.columns - columns
        if missing:
            there = ", ".join(sorted(columns))
            raise ValueError(f"no column {', '.join(sorted(missing))}; there are {there}")
        return self._format

    def _line(self, form: Format, row: Row, name: str, number: int) -> None:
        self._lines += 1
        if self._lines % _NOW_AND_THEN == 0:
            self._advanced(self._lines)
        if not self._is_meant(form, row):
            return
        try:
            arrival = form.read(row)
        except KeyError as error:
            raise BadRecording(f"{name}, line {number}: no value for {error}") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise BadRecording(f"{name}, line {number}: {error}") from None
        if arrival is not None and (self._of_all or self._is_of_model(arrival)):
            self._arrivals.append(arrival)

    def _is_of_model(self, arrival: Arrival) -> bool:
        return arrival.model in ("", self._model)

    def _is_meant(self, form: Format, row: Row) -> bool:
        if self._model is None or (self._of_ledger_alone and not form.ours):
            return True
        return _model_of(row) in (None, self._model)

    def found(self, place: str) -> TraceFile:
        if self._format is None:
            raise BadRecording(f"{place} is empty")
        if not self._arrivals:
            of_model = "" if self._model is None else f" of the model {self._model}"
            raise BadRecording(f"{place} has no call{of_model} that ran")
        left_out = self._lines - len(self._arrivals)
        return TraceFile(
            from_midnight(self._arrivals),
            self._format.name,
            self._format.text,
            left_out,
            weekday_of(self._arrivals),
        )


def from_midnight(arrivals: list[Arrival]) -> list[Arrival]:
    """Instants since 1970 as those since midnight (UTC) of the first one's day; others as they
    are."""
    first = min(one.at for one in arrivals)
    if not is_absolute(first):
        return arrivals
    midnight = first // DAY_S * DAY_S
    return [msgspec.structs.replace(one, at=one.at - midnight) for one in arrivals]


def weekday_of(arrivals: list[Arrival]) -> int | None:
    """Of the first one's day (UTC), 0 for a Monday; None where instants are not since 1970."""
    first = min(one.at for one in arrivals)
    # 1970 began with a Thursday.
    return int(first // DAY_S + 3) % 7 if is_absolute(first) else None


def _by_hand(columns: Columns) -> Format:
    try:
        return named(columns)
    except ValueError as error:
        raise BadRecording(f"--columns: {error}") from None


def _model_of(row: Row) -> str | None:
    """None where the recording names none."""
    found = row.get("model", row.get("Model"))
    return None if found is None else str(found)


def _files(place: str) -> list[Path | None]:
    if place == "-":
        return [None]
    path = Path(place)
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.rglob("*") if one.name.endswith(_SUFFIXES))
    if not found:
        raise BadRecording(f"{place}: no file there ends with {', '.join(_SUFFIXES)}")
    return list(found)


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[str]]:
    if path is None:
        yield sys.stdin
        return
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    opened = gzip.open if packed else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as lines:
        yield lines


def _rows(lines: IO[str], name: str) -> Iterator[tuple[int, Row]]:
    """(Number of the line, its columns)."""
    number, line = 1, next(lines, "")
    while line and not line.strip():
        number, line = number + 1, next(lines, "")
    if not line:
        return
    if line.lstrip().startswith("{"):
        yield from _json_rows(line, lines, number, name)
    else:
        yield from _csv_rows(line, lines, number, name)


def _csv_rows(head: str, lines: IO[str], before: int, name: str) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(_LONGEST)
    columns = [one.strip() for one in next(csv.reader([head]))]
    cells = csv.reader(lines)
    try:
        for values in cells:
            if not values:
                continue
            number = before + cells.line_num
            if len(values) != len(columns):
                raise BadRecording(
                    f"{name}, line {number}: {len(values)} values for {len(columns)} columns"
                )
            yield number, dict(zip(columns, values, strict=True))
    except csv.Error as error:
        raise BadRecording(f"{name}, line {before + cells.line_num}: {error}") from None


def _json_rows(first: str, lines: IO[str], number: int, name: str) -> Iterator[tuple[int, Row]]:
    line = first
    while line:
        if line.strip():
            yield number, _json_row(line, number, name)
        line = next(lines, "")
        number += 1


def _json_row(line: str, number: int, name: str) -> Row:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise BadRecording(f"{name}, line {number}: no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadRecording(f"{name}, line {number}: no JSON object")
    return found
