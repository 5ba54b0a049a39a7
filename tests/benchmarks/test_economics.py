"""``make bench-economics``: what it measures, and what it says where recordings are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.economics import keep_alive
from benchmarks.economics.__main__ import main
from benchmarks.economics.recordings import RECORDINGS, load, sample
from benchmarks.economics.report import Case, as_table, means, replays
from gateway.replay.comparison import compare
from gateway.replay.platforms import PLATFORMS


def test_without_recordings_the_sample_is_replayed_and_what_is_missing_is_said(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["--quick"]) == 0
    printed = capfd.readouterr()
    assert "gentd26, azure, mooncake, r1, mlarge are missing" in printed.err
    for head in ("as recorded", "All recordings", "Learned idle times", "Decisions"):
        assert f"## {head}\n" in printed.out
    assert "Not measured: gentd26 is missing." in printed.out
    assert "| made up | modal |" in printed.out


def test_a_recording_that_is_none_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "nothing"])
    assert "no recording 'nothing'; there are gentd26" in capfd.readouterr().err


def test_a_recording_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "azure2023_conv.csv").write_text("t,in_tok,out_tok\n0,10,45\n3600,10,45\n")
    found = load("azure", tmp_path)
    assert (found.slo_s, len(found.arrivals)) == (2.0, 2)
    with pytest.raises(FileNotFoundError, match=r"r1: no servegen_r1\*\.csv"):
        load("r1", tmp_path)
    assert set(RECORDINGS) == {"gentd26", "azure", "mooncake", "r1", "mlarge"}


def test_a_mean_is_the_geometric_one() -> None:
    found = compare(sample(), PLATFORMS["modal"])
    text = means([Case("as recorded", found), Case("as recorded", found)])
    assert f"| as recorded | modal | 2 | {found.ratio(found.planned):.3f} |" in text
    assert replays([Case("as recorded", found)]).count("\n") == 3


GAPS = "t,model,exec_s,status\n0,a,5,SUCCEED\n10,a,20,SUCCEED\n12,a,1,SUCCEED\n99,a,1,FAILED\n"


def test_gaps_are_those_between_an_end_and_the_next_arrival(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(GAPS + "40,a,1,SUCCEED\n7,b,1,SUCCEED\n")
    assert keep_alive.gaps_by_model(path) == [[5.0, 10.0], []]


def test_a_time_out_is_held_against_whoever_knows_the_gaps() -> None:
    long = [[1000.0] * 50]
    assert keep_alive.fixed(long, 60.0) == 2.0
    assert keep_alive.learned(long, 60.0) == pytest.approx(1.1)
    assert keep_alive.learned([[1.0] * 50], 60.0) == 1.0


def test_a_table_is_markdown() -> None:
    assert as_table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
