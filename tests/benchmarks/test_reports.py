"""The benchmark of large ledgers in short: every report that it asks for is that of the rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.reports.__main__ import main
from benchmarks.reports.questions import REPORTS
from tests.postgres_server import require_postgres


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_every_report_of_a_years_rows_is_the_rows(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--rows", "6000", "--file", str(tmp_path / "ledger.db"), "--check"]
    if store == "postgres":
        require_postgres()
        arguments.append("--postgres")
    assert main([*arguments, "--seconds", "0"]) == 0
    said = capsys.readouterr().out
    assert "every report is the rows'" in said
    assert all(name in said for name in REPORTS)
