"""A flood spills to the serverless platform and comes back, and every call is on the books."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tests.e2e.conftest import KEY
from tests.live import LiveGateway

CONFIG = """
backends:
  home: {{kind: local, app: tests/programs/steady.py:app, required: true, price: here,
          expect: 200ms}}
  burst: {{kind: runpod, endpoint: overflow, api_key: "${{RUNPOD_API_KEY}}", base_url: "{overflow}",
          price: flex, cold_start: {{p50: 50ms, p95: 100ms}}, idle_timeout: 300s, expect: 50ms,
          concurrency: 8}}
models:
  steady: {{task: infer, backends: [home, burst], slo: 1s}}
prices:
  here: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
  flex: {{per_second: 0.001, bills: [start, run], as_of: 2026-11-01, source: test}}
"""


async def test_a_flood_spills_and_traffic_returns_when_it_ends(
    tmp_path: Path, overflow: str
) -> None:
    """Past the SLO calls go to RunPod's worker; header and ledger agree call by call."""
    gateway = LiveGateway(tmp_path, CONFIG.format(overflow=overflow), env={"RUNPOD_API_KEY": KEY})
    gateway.start()
    try:
        async with gateway.async_client() as client:
            before = await ask(client, -1)
            flood = await asyncio.gather(*(ask(client, number) for number in range(60)))
            after = await ask(client, 60)
            assert [answer.status_code for answer in flood] == [200] * 60
            assert [answer.json() for answer in flood] == list(range(60))
            backends = [answer.headers["x-spillgate-backend"] for answer in flood]
            assert set(backends) == {"home", "burst"}
            assert before.headers["x-spillgate-backend"] == "home"
            assert after.headers["x-spillgate-backend"] == "home"
            for answer in [before, *flood, after]:
                await agrees(client, answer)
    finally:
        gateway.stop()


async def ask(client: httpx.AsyncClient, number: int) -> httpx.Response:
    return await client.post("/v1/infer/steady", json={"echo": number})


async def agrees(client: httpx.AsyncClient, answer: httpx.Response) -> None:
    """What the caller was told is what the ledger says."""
    head = answer.headers
    row = (await client.get(f"/usage/{head['x-request-id']}")).json()
    assert row["backend"] == head["x-spillgate-backend"]
    assert row["reason"] == head["x-spillgate-reason"]
    assert row["cost_nano"] == round(float(head["x-spillgate-cost"]) * 1e9)
    assert row["outcome"] == "success"
    assert row["cost_nano"] > 0
