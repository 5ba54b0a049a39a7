"""Cog's own server behind a whole gateway: a call that was left ends there, and is paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.cog.stage import SLOTS, CogServer, cog_servers
from tests.e2e.test_hang_up import is_charged
from tests.live import LiveGateway
from tests.waiting import until

CONFIG = """
backends:
  box: {{kind: cog, base_url: "{url}", slots: {slots}, price: rented}}
models:
  far: {{task: infer, backends: [box]}}
prices:
  rented: {{per_second: 0.001, bills: [run], as_of: 2026-11-01, source: test}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[CogServer]:
    with cog_servers() as servers:
        yield servers["plain"]


async def test_a_call_that_nobody_waits_for_is_cancelled_and_its_seconds_are_charged(
    tmp_path: Path, server: CogServer
) -> None:
    with LiveGateway(tmp_path, CONFIG.format(url=server.url, slots=SLOTS)) as gateway:
        async with gateway.async_client() as client:
            left = asyncio.create_task(client.post("/v1/infer/far", json={"sleep": 50}))
            await until(lambda: server.running() == 1, "the prediction runs")
            left.cancel()
            await until(lambda: server.running() == 0, "the prediction is cancelled")
            await is_charged(client)
            answer = await client.post("/v1/infer/far", json={"echo": "next"})
            assert (answer.status_code, answer.json()) == (200, {"echo": "next"})
