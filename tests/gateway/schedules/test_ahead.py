"""Whoever plans workers knows what schedules begin: a start is over by then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.api.admin.backends import backend_rows
from gateway.clock import FakeClock
from tests.gateway.batches.gateways import input_of
from tests.gateway.schedules.gateways import (
    MINUTE,
    SchedulesGateway,
    policy_with,
    with_schedules,
)
from tests.gateway.warm.platform import Platform
from tests.waiting import until

SOON = """
  burst:
    kind: fake
    price: flex
    cold_start: {p50: 5s, p95: 9s}
    idle_timeout: 60s
    expect: 30s
    max_run: 100s
models:
  soon: {task: infer, backends: [burst], slo: 20s}
  talk: {task: chat, backends: [burst], slo: 20s}
"""
ACT = "warm_pool:\n  burst: {plan: act, most: 3}\n"
OBSERVE = ACT.replace("act", "observe")
EVERY_5 = 'cron: "*/5 * * * *", key: key_night, overlap: allow'


def planned(work: str, plan: str = ACT) -> str:
    text = policy_with(f"often: {{{EVERY_5}, {work}}}", more=plan)
    return text.replace("\nmodels:\n", SOON, 1)


def shown(gateway: SchedulesGateway, model: str = "soon") -> dict[str, Any]:
    """What the last look at the planned backend tells of a model."""
    [row] = [row for row in backend_rows(gateway.inner) if row["backend"] == "burst"]
    [look] = [one for one in row["plan"]["models"] if model in one["models"]]
    found: dict[str, Any] = look
    return found


async def test_a_worker_is_up_when_the_job_of_a_schedule_begins(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = planned("job: {model: soon, input: {x: 1}}")
    async with with_schedules(tmp_path, clock, text) as gateway:
        platform, burst = Platform(gateway), gateway.fake("burst")
        await gateway.at(5 * MINUTE - 12.0)
        assert burst.minimum is None, "nobody pays for a worker long before it is needed"

        await platform.passes(10.0)
        look = shown(gateway)
        assert (burst.warm_workers, look["workers"], look["because"]) == (1, 1, "scheduled")
        assert look["coming"] == 1
        assert look["scheduled"] == [
            {
                "schedule": "often",
                "at": "2026-01-01T00:05:00Z",
                "model": "soon",
                "calls": 1,
                "within_seconds": None,
                "run_seconds": 30.0,
                "at_once": 1,
            }
        ]

        [run] = await gateway.until_runs(1)
        await gateway.until_ended(run.work)
        [row] = await gateway.rows(run.work)
        assert (row.outcome, row.cold_us) == ("success", 0)
        await gateway.clock.advance(MINUTE)
        assert burst.minimum == 0


async def test_a_batch_is_foreseen_by_the_last_one(tmp_path: Path, clock: FakeClock) -> None:
    """Seven lines of half a minute, within two: two run at once. The lines say the model."""
    path = tmp_path / "in.jsonl"
    body = {"model": "talk", "messages": [{"role": "user", "content": "x"}]}
    path.write_bytes(input_of([body] * 7, url="/v1/chat/completions"))
    work = f"batch: {{endpoint: /v1/chat/completions, input: {json.dumps(str(path))}, within: 2m}}"
    async with with_schedules(tmp_path, clock, planned(work, OBSERVE)) as gateway:
        gateway.fake("burst").runs_for = 30.0
        await gateway.at(5 * MINUTE - 3.0)
        assert shown(gateway, "talk")["scheduled"] == [], "none was begun yet"

        [run] = await gateway.until_runs(1)

        async def is_read() -> bool:
            assert gateway.inner.batches is not None
            batch = await gateway.inner.batches.store.get(run.work)
            await clock.advance(0.1)
            return batch is not None and batch.total == 7

        await until(is_read, "the input was read", every_s=0.001)
        await gateway.at(10 * MINUTE - 3.0)
        look = shown(gateway, "talk")
        [what] = look["scheduled"]
        assert (what["model"], what["calls"], what["at_once"]) == ("talk", 7, 2)
        assert (look["workers"], look["because"]) == (2, "scheduled")


async def test_a_plan_that_observes_shows_what_comes_and_tells_nobody(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = planned("job: {model: soon, input: {x: 1}}", OBSERVE)
    async with with_schedules(tmp_path, clock, text) as gateway:
        await gateway.at(5 * MINUTE - 3.0)
        assert (shown(gateway)["coming"], shown(gateway)["because"]) == (1, "scheduled")
        assert gateway.fake("burst").minimum is None
