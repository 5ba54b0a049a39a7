"""``spillgate advise``: a table for people, and the same as JSON."""

from __future__ import annotations

import json

import pytest

from gateway.cli import main
from tests.live import ROOT

SAMPLE = str(ROOT / "examples" / "traffic.csv")
GIVEN = (SAMPLE, "--columns", "time=time,seconds=seconds,output=tokens", "--slo", "2s")


def test_advice_is_told_for_every_offer(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", *GIVEN, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert {one["usd_per_hour"] for one in told["offers"]} >= {2.69, 3.99}
    assert told["load"]["tokens_per_day"] > 0
    assert main(["advise", *GIVEN]) == 0
    text = capfd.readouterr().out
    assert "runpod/h100: a reserved H100 pays from" in text
    assert text.count("modal/h100") == 1 + sum(
        one["serverless"] == "modal/h100" for one in told["offers"]
    ) + text.count("listed: $0.001097 (modal/h100)")
