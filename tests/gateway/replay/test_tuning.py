"""What is proposed was better in the earlier part, kept its promises under stress, and is judged
on the later part."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from gateway.policy.reader import read_policy_text
from gateway.replay.ledger import calls_of
from gateway.replay.planned import planned
from gateway.replay.platforms import PLATFORMS
from gateway.replay.policy_scenario import scenario
from gateway.replay.references import reserved, serverless
from gateway.replay.traffic import Arrival, split
from gateway.replay.tuning import Way, tune
from gateway.storage.base import LedgerRow
from gateway.storage.sqlite.ledger import SqliteLedger

MODAL = PLATFORMS["modal"]
STEADY = split("steady", [Arrival(float(at), 1.9) for at in range(4 * 3600)], slo_s=2.0)
RARE = split("rare", [Arrival(600.0 * at, 2.0) for at in range(300)], slo_s=20.0)

POLICY = """
version: 1
backends:
  home: {kind: local, app: "a.py:app", workers: 3, price: ours}
  far: {kind: runpod, endpoint: a, api_key: "${KEY}", price: list/runpod/h100,
        cold_start: {p50: 6s, p95: 15s}, idle_timeout: 7s}
  free: {kind: local, app: "a.py:app"}
models:
  here: {task: chat, backends: [free], slo: 2s}
  both: {task: chat, backends: [home, far], slo: 3s}
prices:
  ours: {per_hour: 2.5, as_of: 2026-11-01, source: a bill}
"""


def ways(gpus: int) -> Callable[[int], list[Way]]:
    """Today there are so many reserved workers, or none."""
    today = Way("today", lambda traffic, platform, _: reserved(traffic, platform, gpus))
    alone = Way("serverless", serverless)
    return lambda fleet: [
        today if gpus else Way("today", serverless),
        Way("planned", lambda traffic, platform, seed: planned(traffic, platform, seed=seed)),
        Way("reserved", lambda traffic, platform, _: reserved(traffic, platform, fleet)),
        alone,
    ]


def test_steady_load_needs_no_platform() -> None:
    found = tune(STEADY, MODAL, ways(0))
    assert found.way in ("planned", "reserved")
    assert found.keeps
    least, middle, most = found.saves
    assert 0 < least <= middle <= most < 1
    assert {one.way for one in found.trials} == {"today", "planned", "reserved", "serverless"}


def test_what_is_proposed_kept_its_promises_under_stress() -> None:
    for traffic, gpus in ((STEADY, 1), (RARE, 1)):
        found = tune(traffic, MODAL, ways(gpus))
        trial = next(one for one in found.trials if one.way == found.way)
        kept = [one for one in found.trials if one.keeps]
        assert trial.keeps
        assert trial.cost_per_1000 == min(one.cost_per_1000 for one in kept)


def test_what_is_reserved_for_nothing_is_given_up() -> None:
    found = tune(RARE, MODAL, ways(4))
    assert found.way in ("planned", "serverless")
    assert found.saves[0] > 0.5


def test_nothing_can_be_tuned_without_an_earlier_part() -> None:
    whole = msgspec.structs.replace(STEADY, judged_from=0.0)
    with pytest.raises(ValueError, match="no calls before"):
        tune(whole, MODAL, ways(1))


def test_a_policy_says_where_a_model_is_at_home_and_where_it_spills() -> None:
    policy = read_policy_text(POLICY, {"KEY": "k"})
    found = scenario(policy, None, now=1.8e9)
    assert (found.model, found.home, found.overflow, found.gpus) == ("both", "home", "far", 3)
    platform = found.platform
    assert (found.slo_s, platform.per_s, platform.default_idle_s) == (3.0, 0.00116, 7.0)
    assert platform.reserved_per_hour == 2.5
    ranked = sorted(platform.starts)
    assert ranked[len(ranked) // 2] == pytest.approx(6.0, rel=0.02)
    assert ranked[int(0.95 * len(ranked))] == pytest.approx(15.0, rel=0.04)


def test_a_model_that_cannot_spill_and_one_that_is_none_are_said() -> None:
    policy = read_policy_text(POLICY, {"KEY": "k"})
    with pytest.raises(ValueError, match="here: no backend with a price by the second"):
        scenario(policy, "here", now=1.8e9)
    with pytest.raises(ValueError, match="no model else: there are here, both"):
        scenario(policy, "else", now=1.8e9)


def row(number: int, **more: object) -> LedgerRow:
    given: dict[str, object] = {
        "id": f"r{number}", "outcome": "success", "started_at": 86_400.0 * 20_000 + number,
        "ended_at": 86_400.0 * 20_000 + number + 2, "key_id": "k", "user": "ada", "model": "m",
        "task": "chat", "backend": "b", "exec_us": 1_500_000, "input_tokens": 3,
    }  # fmt: skip
    return LedgerRow(**{**given, **more})  # type: ignore[arg-type]


def test_the_ledger_is_a_recording(tmp_path: object) -> None:
    async def read() -> list[Arrival]:
        ledger = SqliteLedger(f"{tmp_path}/ledger.db")
        try:
            rows = [row(number) for number in range(1200)]
            rows += [row(2000, outcome="error"), row(2001, model="n"), row(2002, exec_us=0)]
            for start in range(0, len(rows), 400):
                await ledger.settle(rows[start : start + 400])
            return await calls_of(ledger, "m", 0.0, 2e9)
        finally:
            await ledger.aclose()

    found = sorted(asyncio.run(read()), key=lambda one: one.at)
    assert [one.at for one in found] == [float(number) for number in range(1200)]
    assert found[0] == Arrival(0.0, 1.5, "ada", 3, model="m")
