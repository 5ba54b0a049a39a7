"""A client that hangs up in the middle of a call: the remote job ends, and what it used is paid."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import KEY
from tests.live import LiveGateway
from tests.waiting import until

CONFIG = """
backends:
  burst: {{kind: runpod, endpoint: overflow, api_key: "${{RUNPOD_API_KEY}}", base_url: "{overflow}",
          price: flex, idle_timeout: 300s, wait: 1s}}
models:
  far: {{task: infer, backends: [burst]}}
prices:
  flex: {{per_second: 0.001, bills: [run], as_of: 2026-11-01, source: test}}
"""


class Platform:
    """What the platform itself says of its jobs."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/overflow/health"

    async def jobs(self, name: str) -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(self._url, headers={"Authorization": f"Bearer {KEY}"})
        count: int = answer.json()["jobs"][name]
        return count

    async def busy(self) -> bool:
        return await self.jobs("inProgress") > 0

    async def free(self) -> bool:
        return await self.jobs("inProgress") + await self.jobs("inQueue") == 0


async def test_a_job_that_nobody_waits_for_is_cancelled_and_its_seconds_are_charged(
    tmp_path: Path, overflow: str
) -> None:
    """Before the platform has even told the job's id."""
    platform = Platform(overflow)
    with LiveGateway(
        tmp_path, CONFIG.format(overflow=overflow), env={"RUNPOD_API_KEY": KEY}
    ) as gateway:
        async with gateway.async_client() as client:
            completed = await platform.jobs("completed")
            call = asyncio.create_task(client.post("/v1/infer/far", json={"sleep": 50}))
            await until(platform.busy, "the worker has the job")
            call.cancel()
            await until(platform.free, "the job is cancelled")
            assert await platform.jobs("completed") == completed
            await is_charged(client)
            answer = await client.post("/v1/infer/far", json={"echo": "next"})
            assert (answer.status_code, answer.json()) == (200, "next")


async def test_a_stream_that_nobody_reads_any_more_is_cancelled_and_its_seconds_are_charged(
    tmp_path: Path, streaming_overflow: str
) -> None:
    platform = Platform(streaming_overflow)
    with LiveGateway(
        tmp_path, CONFIG.format(overflow=streaming_overflow), env={"RUNPOD_API_KEY": KEY}
    ) as gateway:
        async with gateway.async_client() as client:
            await read_two_events(client, {"stream": 1000, "gap": 0.05})
            await until(platform.free, "the job is cancelled")
            await is_charged(client)
            answer = await client.post("/v1/infer/far", json={"echo": "next"})
            assert (answer.status_code, answer.json()) == (200, ["next"])


async def read_two_events(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    headers = {"accept": "text/event-stream"}
    async with client.stream("POST", "/v1/infer/far", json=body, headers=headers) as answer:
        assert answer.status_code == 200
        events = 0
        async for line in answer.aiter_lines():
            events += line.startswith("data:")
            if events == 2:
                return
    pytest.fail("the stream ended by itself")


async def is_charged(client: httpx.AsyncClient) -> None:
    """One row, which says who ended it and what it used: a tenth of a cent a second."""

    async def rows() -> list[dict[str, Any]]:
        report = await client.get("/usage", params={"group_by": "outcome"})
        found: list[dict[str, Any]] = report.json()["rows"]
        return found

    async def settled() -> bool:
        return bool(await rows())

    await until(settled, "the call is settled")
    [row] = await rows()
    assert (row["outcome"], row["calls"]) == ("disconnected", 1)
    assert 0 < row["exec_seconds"] < 50
    assert row["cost_nano"] == pytest.approx(row["exec_seconds"] * 1e6, rel=0.01)


async def test_a_route_may_let_a_call_finish_that_nobody_waits_for(
    tmp_path: Path, overflow: str
) -> None:
    platform = Platform(overflow)
    routes = "routes: [{name: all, use: [burst], on_disconnect: finish}]\n"
    config = CONFIG.format(overflow=overflow) + routes
    with LiveGateway(tmp_path, config, env={"RUNPOD_API_KEY": KEY}) as gateway:
        async with gateway.async_client() as client:
            completed = await platform.jobs("completed")
            call = asyncio.create_task(client.post("/v1/infer/far", json={"sleep": 3}))
            await until(platform.busy, "the worker has the job")
            call.cancel()
            await asyncio.wait([call])

            async def finished() -> bool:
                return await platform.jobs("completed") > completed

            await until(finished, "the job has finished")

            async def booked() -> bool:
                rows = (await client.get("/usage?group_by=outcome")).json()["rows"]
                return [row["outcome"] for row in rows] == ["success"]

            await until(booked, "its call is a success")
