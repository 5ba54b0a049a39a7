"""Killed again and again under load, the gateway loses no call that a client saw answered."""

from __future__ import annotations

import asyncio
import collections
import os
import random
import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import KEY
from tests.live import LiveGateway
from tests.waiting import until

ROUNDS = 20 if os.environ.get("SPILLGATE_SOAK") == "long" or os.environ.get("CI") else 6
CALLERS = 16

CONFIG = """
backends:
  home: {{kind: local, app: tests/programs/echo.py:app, required: true, price: here}}
  burst: {{kind: runpod, endpoint: overflow, api_key: "${{RUNPOD_API_KEY}}", base_url: "{overflow}",
          price: flex, cold_start: {{p50: 50ms, p95: 100ms}}, idle_timeout: 300s, concurrency: 8}}
models:
  near: {{task: infer, backends: [home]}}
  far: {{task: infer, backends: [burst]}}
prices:
  here: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
  flex: {{per_second: 0.001, bills: [start, run], as_of: 2026-11-01, source: test}}
plans:
  default: {{requests: 1000000/minute, concurrent: 1000, spend: 100 USD/month}}
"""


@pytest.mark.soak
async def test_every_answer_that_a_client_saw_has_exactly_one_settled_row(
    tmp_path: Path, overflow: str
) -> None:
    """Rounds of SIGKILL under load on both a reserved and a paid backend; nothing is doubled and
    every hold that was open is resolved at the next start."""
    gateway = LiveGateway(
        tmp_path,
        CONFIG.format(overflow=overflow),
        server={"access_log": False},
        env={"RUNPOD_API_KEY": KEY},
    )
    random_source = random.Random(20261122)
    seen: list[str] = []
    for _ in range(ROUNDS):
        gateway.start()
        try:
            seen += await load_until_killed(gateway, random_source.randrange(25, 90))
        finally:
            if gateway.process is not None:
                gateway.kill()
    gateway.start()
    gateway.stop()
    check_the_books(gateway.data / "ledger.db", seen)


async def load_until_killed(gateway: LiveGateway, answers: int) -> list[str]:
    """The ids of all calls that were answered with 200 before the gateway was killed."""
    answered: list[str] = []
    async with gateway.async_client() as client:
        callers = [
            asyncio.create_task(call_on(client, "far" if n % 4 == 0 else "near", answered))
            for n in range(CALLERS)
        ]
        await until(lambda: len(answered) >= answers, "so many are answered", every_s=0.001)
        await asyncio.to_thread(gateway.kill)
        await asyncio.gather(*callers)
    return answered


async def call_on(client: httpx.AsyncClient, model: str, answered: list[str]) -> None:
    while True:
        try:
            answer = await client.post(f"/v1/infer/{model}", json={"echo": model})
        except httpx.TransportError:
            return
        if answer.status_code == 200:
            answered.append(answer.headers["x-request-id"])


def check_the_books(ledger: Path, seen: list[str]) -> None:
    with sqlite3.connect(ledger) as connection:
        rows = connection.execute(
            "SELECT id, outcome, kind, cost_nano, hold_nano FROM entries"
        ).fetchall()
    connection.close()
    count = collections.Counter(row[0] for row in rows)
    outcomes = {row[0]: row[1] for row in rows}
    assert len(seen) > 20 * ROUNDS
    assert len(set(seen)) == len(seen)
    assert {count[call] for call in seen} == {1}
    assert {outcomes[call] for call in seen} <= {"success", "interrupted"}
    assert "open" not in outcomes.values()
    assert all(cost <= hold or outcome == "success" for _, outcome, _, cost, hold in rows)
