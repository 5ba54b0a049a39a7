"""Files have what was put into them, in either form, or say that they are broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.archive.day_files import ArchiveBroken, DayFile, pages
from gateway.storage.base import LedgerRow
from gateway.storage.rows import COLUMNS, decode_settled, encode_settled
from tests.gateway.storage.sqlite.ledger_rows import settled_row, settled_rows

SHARED = HealthCheck.function_scoped_fixture
"""Each example writes its file anew."""


def written(path: Path, rows: list[LedgerRow]) -> Path:
    file = DayFile(path)
    for row in rows:
        file.write([encode_settled(row)])
    file.finish()
    return path


def read(path: Path) -> list[LedgerRow]:
    return [decode_settled(tuple(row)) for page in pages(path, 2) for row in page]


@pytest.mark.parametrize("name", ["day.csv.gz", "day.parquet"])
@settings(max_examples=15, deadline=None, suppress_health_check=[SHARED])
@given(rows=st.lists(settled_rows, max_size=5))
def test_what_is_read_is_what_was_written(name: str, tmp_path: Path, rows: list[LedgerRow]) -> None:
    assert read(written(tmp_path / name, rows)) == rows
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_spreadsheet_runs_nothing_of_what_callers_wrote(tmp_path: Path) -> None:
    rows = [settled_row(user=text) for text in ("=cmd", "+1", "-1", "@x", "'quoted", "plain")]
    path = written(tmp_path / "day.csv.gz", rows)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    users = [line.split(",")[COLUMNS.index("user")] for line in lines[1:]]
    assert users == ["'=cmd", "'+1", "'-1", "'@x", "''quoted", "plain"]
    assert read(path) == rows


@pytest.mark.parametrize("name", ["day.csv.gz", "day.parquet"])
def test_a_file_that_is_cut_off_says_so(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, [settled_row(f"r{number}") for number in range(50)])
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ArchiveBroken, match=name):
            read(path)


def test_a_file_with_other_columns_says_so(tmp_path: Path) -> None:
    path = tmp_path / "day.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(ArchiveBroken, match="does not name the ledger's columns"):
        read(path)


def test_what_a_dead_attempt_has_left_is_gone_with_the_next(tmp_path: Path) -> None:
    (tmp_path / ".day.csv.gz.1234.part").write_bytes(b"half")
    written(tmp_path / "day.csv.gz", [settled_row()])
    assert [path.name for path in tmp_path.iterdir()] == ["day.csv.gz"]


def test_only_its_owner_may_read_a_file(tmp_path: Path) -> None:
    path = written(tmp_path / "new" / "day.csv.gz", [settled_row()])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
