"""``spillgate tune``: a proposal, its diff, and nothing applied; ``replay --config`` beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from gateway.cli import main
from tests.live import ROOT

SAMPLE = str(ROOT / "examples" / "traffic.csv")
COLUMNS = ("--columns", "time=time,seconds=seconds")
CONFIG = ROOT / "config" / "default.yaml"


def test_a_proposal_is_a_diff_that_nobody_applied(capfd: pytest.CaptureFixture[str]) -> None:
    before = CONFIG.read_text()
    assert main(["tune", SAMPLE, *COLUMNS, "--config", str(CONFIG), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert CONFIG.read_text() == before
    assert told["model"] == "minilm"
    assert {one["way"] for one in told["earlier_part"]} >= {"reserved", "serverless"}
    saves = told["later_part"]["saves"]
    assert saves["least"] <= saves["middle"] <= saves["most"]
    assert bool(told["edits"]) == bool(told["diff"])
    assert main(["tune", SAMPLE, *COLUMNS, "--config", str(CONFIG)]) == 0
    assert f"later part: {told['proposed']} costs" in capfd.readouterr().out


def test_a_policy_is_replayed_beside_what_else_could_be_done(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["replay", SAMPLE, *COLUMNS, "--config", str(CONFIG), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    policy = yaml.safe_load(CONFIG.read_text())
    assert told["platform"] == "burst"
    assert told["usd_per_hour_reserved"] == policy["prices"]["this-machine"]["per_hour"]
    assert told["slo_seconds"] == 2.0
    assert told["reserved_gpus"] == pytest.approx(1.0)
    assert set(told["references"]) == {"planned", "reserved", "serverless", "rule_of_thumb"}
    assert sum(told["backends"].values()) == sum(told["reasons"].values()) == told["calls"]
    assert told["charged_per_1000"] <= told["cost_per_1000"]


def test_what_cannot_be_tuned_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def said(*given: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["tune", *given])
        assert ended.value.code == 2
        return capfd.readouterr().err

    assert "no model nobody" in said("--config", str(CONFIG), "--model", "nobody")
    own = tmp_path / "policy.yaml"
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    own.write_text(CONFIG.read_text().replace("sqlite:///.spillgate/ledger.db", ledger))
    assert "no call of minilm that ran in the last 1 days" in said("--config", str(own))
