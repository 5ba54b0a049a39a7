"""Slow calls that are asked of a second backend: a gateway that runs and a replay of its policy
come to the same, in answers, seconds and money."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.policy.reader import read_policy_text
from gateway.replay.traffic import Arrival, Traffic
from gateway.replay.virtual.played import Assumed, play
from gateway.replay.virtual.second_runs import SecondRuns
from gateway.types import NANO
from tests.agreement.machines import StandInMachine, served
from tests.live import LiveGateway, free_port

CONFIG = """
backends:
  first: {{kind: http, base_url: "http://127.0.0.1:{first}", price: flex, expect: 1s,
          repeat: always}}
  second: {{kind: http, base_url: "http://127.0.0.1:{second}", price: dear, expect: 1s,
           repeat: always}}
models:
  m: {{task: infer, backends: [first, second], slo: 5s, idempotent: true}}
prices:
  flex: {{per_second: 0.001, as_of: 2026-11-01, source: test}}
  dear: {{per_second: 0.002, as_of: 2026-11-01, source: test}}
routes:
  - {{name: all, use: [first, second], order: listed, hedge: {{after: 1s, share: 100}}}}
"""
SEED = 1
SLOW = (3, 4, 11, 19)
"""Calls that run for six seconds; the others run for half a second."""


def with_tail() -> list[Arrival]:
    return [Arrival(0.25 * n, 6.0 if n in SLOW else 0.5) for n in range(24)]


async def test_a_gateway_and_its_replay_hedge_the_same_calls_at_the_same_cost(
    tmp_path: Path,
) -> None:
    traffic = Traffic(
        name="slow at times", arrivals=with_tail(), slo_s=5.0, judged_from=0.0, judged_until=20.0
    )
    first, second = StandInMachine("first"), StandInMachine("second")
    ports = {"first": free_port(), "second": free_port()}
    text = CONFIG.format(**ports)
    gateway = LiveGateway(tmp_path, text)
    async with (
        served(first.application(), ports["first"]),
        served(second.application(), ports["second"]),
    ):
        await asyncio.to_thread(gateway.start)
        try:
            answers = await _asked(gateway, traffic)
            charged = await _charged(gateway)
        finally:
            await asyncio.to_thread(gateway.stop)
    policy = read_policy_text(f"version: 1\n{text}", {})
    assumed = Assumed(model="m", now=time.time())
    said = await asyncio.to_thread(play, policy, traffic, assumed, seed=SEED)
    by_backend = Counter(one.backend for one in answers)
    assert by_backend == said.backends
    assert second.calls == said.hedged == len(SLOW)
    assert by_backend["second"] == said.hedges_won > 1
    usd = 0.001 * first.seconds + 0.002 * second.seconds
    assert usd == pytest.approx(said.outcome.usd, rel=0.05)
    assert charged == pytest.approx(said.charged_usd, rel=0.05)
    # Without a second backend the slowest would take six seconds.
    slowest_s = max(one.seconds for one in answers)
    assert slowest_s == pytest.approx(said.answer_s[2], abs=2.0)


class _Answer(msgspec.Struct, frozen=True):
    backend: str
    seconds: float


async def _asked(gateway: LiveGateway, traffic: Traffic) -> list[_Answer]:
    """What became of the calls; each says how long it runs at either."""
    again = SecondRuns(traffic.arrivals, SEED)
    async with gateway.async_client() as client:
        client.timeout = httpx.Timeout(60.0)
        begins = time.monotonic() + 0.5

        async def ask(number: int, one: Arrival) -> _Answer:
            runs = {"first": one.runs_s, "second": again.seconds(one, f"c{number}/1")}
            await asyncio.sleep(begins + one.at - time.monotonic())
            asked = time.monotonic()
            answer = await client.post("/v1/infer/m", json=runs)
            assert answer.status_code == 200, answer.text
            return _Answer(answer.headers["x-spillgate-backend"], time.monotonic() - asked)

        return await asyncio.gather(*(ask(n, one) for n, one in enumerate(traffic.arrivals)))


async def _charged(gateway: LiveGateway) -> float:
    async with gateway.async_client(gateway.admin_key) as client:
        usage = (await client.get("/usage", params={"group_by": "backend"})).json()
    return sum(int(row["cost_nano"]) for row in usage["rows"]) / NANO
