"""What is told of hedged calls, before and after; and what is learned of their backends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.hedging.answer_quantiles import ENOUGH, KEPT, AnswerQuantiles
from gateway.policy.sections.hedge import Quantile
from tests.gateway.assembled import assembled
from tests.gateway.hedging.calls import policy, runs

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}


@pytest.mark.parametrize(
    ("hedge", "after_s"), [("after: 800ms, share: 5", 0.8), ("after: p95, share: 5", None)]
)
async def test_it_is_explained_when_and_where_a_slow_call_would_be_asked_as_well(
    hedge: str, after_s: float | None, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(hedge=hedge)) as gateway, gateway.client() as web:
        told = (await web.post("/v1/route/explain", json=CHAT)).json()["hedge"]
        assert told == {"after_seconds": after_s, "backend": "second", "share": 5.0}
        native = (await web.post("/v1/route/explain", json={"model": "infer"})).json()
        assert native["hedge"] is None


async def test_the_record_of_a_call_has_both_attempts_and_their_sum(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = policy("seconds", route=", repeat: always")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as web:
        runs(gateway, first=4.0, second=60.0)
        asking = asyncio.ensure_future(web.post("/v1/chat/completions", json=CHAT))
        await gateway.until_done([asking], step=0.5)
        answer = asking.result()
        told = (await web.get(f"/usage/{answer.headers['x-request-id']}")).json()
        [lost] = told["attempts"]
        assert (lost["backend"], lost["error"], lost["hedge"]) == ("second", "hedged", True)
        assert (lost["outcome"], lost["status"]) == ("cancelled", 499)
        assert lost["cost_nano"] > 0
        assert told["total_cost_nano"] == told["cost_nano"] + lost["cost_nano"]


def test_too_few_answers_say_nothing() -> None:
    seen = AnswerQuantiles()
    for _ in range(ENOUGH - 1):
        seen.observe(1.0)
    assert seen.after("p50") is None
    seen.observe(1.0)
    assert seen.after("p50") == 1.0


@pytest.mark.parametrize(("quantile", "seconds"), [("p50", 50.0), ("p95", 95.0), ("p99", 99.0)])
def test_a_quantile_is_passed_by_so_many(quantile: Quantile, seconds: float) -> None:
    seen = AnswerQuantiles()
    for second in range(100):
        seen.observe(float(second))
    assert seen.after(quantile) == seconds


def test_what_was_long_ago_counts_no_more() -> None:
    seen = AnswerQuantiles()
    for second in (60.0, 1.0):
        for _ in range(KEPT):
            seen.observe(second)
    assert seen.after("p99") == 1.0
