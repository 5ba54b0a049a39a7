"""``spillgate replay``: from a file to figures, and bad input to a line that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.cli.recorded.progress import Stages
from tests.live import ROOT

SAMPLE = str(ROOT / "examples" / "traffic.csv")
COLUMNS = ("--columns", "time=time,seconds=seconds,user=user")


def test_a_recording_is_told_as_json_and_as_a_page(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.html"
    given = (SAMPLE, *COLUMNS, "--slo", "2s", "--platform", "modal", "--page", str(path))
    assert main(["replay", *given, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["trace"] == "traffic.csv"
    assert told["ratio"] > 1
    assert told["calls"] + 1 < 2051
    assert path.read_text().startswith("<!doctype html>")


def test_a_dearer_fleet_and_more_load_cost_more(capfd: pytest.CaptureFixture[str]) -> None:
    def cost(*given: str) -> float:
        assert main(["replay", SAMPLE, *COLUMNS, "--slo", "2s", *given, "--json"]) == 0
        found: float = json.loads(capfd.readouterr().out)["clairvoyant_per_1000"]
        return found

    assert cost("--reserved", "3.99") > cost()
    assert cost("--careful") == cost()


BAD = {
    "a file that is not there": (("nowhere.csv",), "nowhere.csv"),
    "columns that are none": ((SAMPLE, "--columns", "time=t,seconds=seconds"), "no column t"),
    "a name of no column": ((SAMPLE, "--columns", "when=t"), "no 'when': there are time"),
    "half of a pair": ((SAMPLE, "--columns", "time="), "write time=COLUMN,seconds=COLUMN"),
    "a share of all": ((SAMPLE, *COLUMNS, "--train", "1"), "no share from 0 to below 1"),
    "no load": ((SAMPLE, *COLUMNS, "--scale", "0"), "not above 0"),
    "no number": ((SAMPLE, *COLUMNS, "--reserved", "cheap"), "no number"),
    "infinite": ((SAMPLE, *COLUMNS, "--reserved", "inf"), "no number"),
    "no duration": ((SAMPLE, *COLUMNS, "--slo", "soon"), "soon"),
    "a page that is a folder": ((SAMPLE, *COLUMNS, "--page", str(ROOT)), "--page"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_was_asked_wrongly_is_said(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    given, said = BAD[name]
    with pytest.raises(SystemExit) as ended:
        main(["replay", *given])
    assert ended.value.code == 2
    assert said in capfd.readouterr().err


def test_a_stage_is_said_once_where_no_terminal_is(capfd: pytest.CaptureFixture[str]) -> None:
    with Stages(is_terminal=False) as stages:
        for done in (0.1, 0.5, 1.0):
            stages.advance("replay", done)
    assert capfd.readouterr().err == "replay ...\n"


def test_a_terminal_has_a_bar_that_leaves_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with Stages(is_terminal=True) as stages:
        stages.advance("replay", 0.5)
    assert "..." not in capfd.readouterr().err


def test_a_policy_without_models_is_told_to_have_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "empty.yaml"
    policy.write_text("version: 1\n")
    with pytest.raises(SystemExit, match="2"):
        main(["replay", SAMPLE, *COLUMNS, "--config", str(policy), "--json"])
    assert "model" in capfd.readouterr().err
