"""A gateway that runs and a replay of its policy come to the same, call by call and in money."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.replay.traffic import Arrival, Traffic
from tests.agreement.runs import Setting, live, replayed

BURSTS = (0.0, 7.0)
"""Seconds: of five calls each, 0.3 s apart. The first two stay at home, three must start workers;
all of the second burst find one that has been free for a while."""


async def test_a_gateway_and_its_replay_agree(tmp_path: Path) -> None:
    """Calls so far apart that a machine with much to do changes nothing of what is decided."""
    arrivals = [Arrival(burst + 0.3 * n, 4.0) for burst in BURSTS for n in range(5)]
    traffic = Traffic(
        name="two bursts", arrivals=arrivals, slo_s=1.0, judged_from=0.0, judged_until=16.0
    )
    setting = Setting(workers=2, runs_s=4.0, slo_s=1.0, p50_s=1.5, p95_s=1.5, idle_s=3.0)
    was, made = await live(tmp_path, traffic, setting, seed=1)
    said = await asyncio.to_thread(replayed, made, setting, 1)
    assert (was.at_home, said.at_home) == (4, 4)
    assert was.attainment == pytest.approx(said.attainment, abs=0.01)
    assert was.usd == pytest.approx(said.usd, rel=0.05)
    assert was.charged_usd == pytest.approx(said.charged_usd, rel=0.05)
