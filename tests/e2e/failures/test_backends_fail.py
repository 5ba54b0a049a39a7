"""Backends that die in the middle of a call, or are not there: one clear error, or another one."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import KEY
from tests.e2e.observing import error_of, metric
from tests.e2e.servers.paid import PaidServer
from tests.live import LiveGateway, free_port
from tests.waiting import until

WORKERS = """
backends:
  home: {{kind: local, app: tests/programs/hold.py:app, required: true, price: here}}
  burst: {{kind: runpod, endpoint: overflow, api_key: "${{RUNPOD_API_KEY}}", base_url: "{overflow}",
          price: flex, idle_timeout: 300s}}
models:
  alone: {{task: infer, backends: [home]}}
  both: {{task: infer, backends: [home, burst], slo: 10s}}
prices:
  here: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
  flex: {{per_second: 0.001, bills: [run], as_of: 2026-11-01, source: test}}
"""

ABSENT = """
backends:
  far: {{kind: openai, base_url: "http://127.0.0.1:{port}", price: per-call}}
models:
  chat: {{task: chat, backends: [far]}}
prices:
  per-call: {{per_call: 0.25, as_of: 2026-11-01, source: test}}
plans:
  default: {{spend: 1 USD/month}}
"""
HELLO = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("model", ["both", "alone"])
async def test_a_call_whose_worker_is_killed_moves_on_or_fails_and_the_next_worker_serves(
    tmp_path: Path, overflow: str, model: str
) -> None:
    """The failure is on the metrics once, and the books say who answered."""
    config = WORKERS.format(overflow=overflow)
    with LiveGateway(tmp_path, config, env={"RUNPOD_API_KEY": KEY}) as gateway:
        async with gateway.async_client() as client:
            before = (await client.post("/v1/infer/alone", json={})).json()["pid"]
            answer = await killed_in_the_middle(client, model, before, tmp_path / "begun")
            row = (await client.get(f"/usage/{answer.headers['x-request-id']}")).json()
            if model == "both":
                assert (answer.status_code, answer.json()) == (200, "answered elsewhere")
                assert answer.headers["x-spillgate-reason"] == "FAILOVER"
                assert (row["backend"], row["outcome"]) == ("burst", "success")
            else:
                assert error_of(answer) == (502, "backend_worker_died")
                assert (row["backend"], row["outcome"]) == ("home", "error")
            failures = metric(
                gateway, "spillgate_backend_failures_total", backend="home", failure="worker_died"
            )
            assert failures == 1
            assert await served_by_another(client, before)
        assert "[worker 0] defunct: it was killed by SIGKILL" in gateway.log


async def killed_in_the_middle(
    client: httpx.AsyncClient, model: str, worker: int, begun: Path
) -> httpx.Response:
    body = {"hold": str(begun), "echo": "answered elsewhere"}
    call = asyncio.create_task(client.post(f"/v1/infer/{model}", json=body))
    await until(begun.exists, "the call reaches the worker")
    os.kill(worker, signal.SIGKILL)
    return await call


async def served_by_another(client: httpx.AsyncClient, dead: int) -> bool:
    async def answered() -> bool:
        answer = await client.post("/v1/infer/alone", json={})
        return answer.status_code == 200 and answer.json()["pid"] != dead

    await until(answered, "a new worker answers")
    return True


async def test_a_backend_that_refuses_connections_costs_nothing_and_serves_once_it_is_there(
    tmp_path: Path,
) -> None:
    """One failure is forgiven, then it is left alone; a later call finds it."""
    port = free_port()
    with LiveGateway(tmp_path, ABSENT.format(port=port)) as gateway:
        async with gateway.async_client() as client:
            told: list[httpx.Response] = []
            await until(lambda: is_left_alone(client, told), "it is asked no more")
            assert {error_of(answer) for answer in told[:-1]} == {(502, "backend_unreachable")}
            assert {answer.headers["x-should-retry"] for answer in told} == {"true"}
            assert "cooling_down" in told[-1].json()["error"]["message"]
            assert told[-1].headers["retry-after"] in ("1", "2")
            totals = (await client.get("/usage")).json()["totals"]
            assert totals["cost_nano"] == 0
            with PaidServer(port) as server:
                await until(lambda: answers(client), "the backend is asked again")
                # Had a failed call kept its hold, this one would not fit into the dollar.
                rest = [await client.post("/v1/chat/completions", json=HELLO) for _ in range(4)]
            assert [answer.status_code for answer in rest] == [200, 200, 200, 402]
            assert server.calls == 4


async def is_left_alone(client: httpx.AsyncClient, told: list[httpx.Response]) -> bool:
    told.append(await client.post("/v1/chat/completions", json=HELLO))
    return error_of(told[-1]) == (503, "no_backend")


async def answers(client: httpx.AsyncClient) -> bool:
    return (await client.post("/v1/chat/completions", json=HELLO)).status_code == 200
