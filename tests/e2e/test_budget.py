"""A budget under a flood: what is charged never passes the cap, and no hold is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.conftest import KEY
from tests.e2e.observing import error_of
from tests.live import LiveGateway

CAP_NANO = 10_000_000
DEAR_NANO = 95_000
"""Of a chat call, for the one token that it produces; twice as much is held, for two."""
CHEAP_NANO = 300_000
CALLS = 200

CONFIG = """
backends:
  burst: {{kind: runpod, endpoint: overflow, api_key: "${{RUNPOD_API_KEY}}", base_url: "{overflow}",
          price: tokens, idle_timeout: 300s}}
  cheap: {{kind: runpod, endpoint: overflow, api_key: "${{RUNPOD_API_KEY}}", base_url: "{overflow}",
          price: calls, idle_timeout: 300s}}
models:
  chat: {{task: chat, backends: [burst]}}
  other: {{task: infer, backends: [cheap]}}
prices:
  tokens: {{per_million_output: 95, as_of: 2026-11-01, source: test}}
  calls: {{per_call: 0.0003, as_of: 2026-11-01, source: test}}
plans:
  default: {{spend: 0.01 USD/month}}
"""


def saying(number: int) -> dict[str, Any]:
    message = {"role": "user", "content": f"number {number}"}
    return {"model": "chat", "messages": [message], "max_tokens": 2}


async def test_a_cent_pays_for_half_of_a_flood_and_then_to_the_last_whole_call(
    tmp_path: Path, overflow: str
) -> None:
    """Were one hold left that is larger than its charge, the last calls would not fit."""
    config = CONFIG.format(overflow=overflow)
    with LiveGateway(tmp_path, config, env={"RUNPOD_API_KEY": KEY}) as gateway:
        async with gateway.async_client() as client:
            flood = [client.post("/v1/chat/completions", json=saying(n)) for n in range(CALLS)]
            answers = await asyncio.gather(*flood)
            served = [n for n, answer in enumerate(answers) if answer.status_code == 200]
            said = [answers[n].json()["choices"][0]["message"]["content"] for n in served]
            assert said == [f"number {n}" for n in served]
            refused = [answer for answer in answers if answer.status_code != 200]
            assert CAP_NANO // (2 * DEAR_NANO) <= len(served) <= CAP_NANO // DEAR_NANO
            assert {error_of(answer) for answer in refused} == {(402, "budget_exhausted")}
            assert {answer.json()["error"]["type"] for answer in refused} == {"insufficient_quota"}
            spent = await spent_by(client)
            assert spent == len(served) * DEAR_NANO <= CAP_NANO

            fits = (CAP_NANO - spent) // CHEAP_NANO
            more = [await client.post("/v1/infer/other", json={}) for _ in range(fits + 1)]
            assert [answer.status_code for answer in more] == [200] * fits + [402]
            assert await spent_by(client) == spent + fits * CHEAP_NANO


async def spent_by(client: httpx.AsyncClient) -> int:
    cost: int = (await client.get("/usage")).json()["totals"]["cost_nano"]
    return cost
