"""Modal behind a whole gateway: what a call used is in the ledger, also of one that was left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.modal.platform import ModalPlatform, modal_running
from tests.adapters.modal.stage import pieces, serve
from tests.e2e.test_hang_up import is_charged, read_two_events
from tests.live import LiveGateway
from tests.waiting import until

TOKEN = ("ak-1", "as-1")
ENV = {"MODAL_ID": TOKEN[0], "MODAL_SECRET": TOKEN[1]}
CONFIG = """
backends:
  burst: {{kind: modal, app: app, function: serve, stream: pieces, server_url: "{url}",
          token_id: "${{MODAL_ID}}", token_secret: "${{MODAL_SECRET}}", price: flex,
          idle_timeout: 300s}}
models:
  far: {{task: infer, backends: [burst]}}
prices:
  flex: {{per_second: 0.001, bills: [run], as_of: 2026-11-01, source: test}}
"""


@pytest.fixture
def platform() -> Iterator[ModalPlatform]:
    with modal_running({"serve": serve, "pieces": pieces}, TOKEN) as running:
        yield running


def gateway_over(platform: ModalPlatform, folder: Path) -> LiveGateway:
    return LiveGateway(folder, CONFIG.format(url=platform.url), env=ENV)


async def test_a_call_and_a_stream_are_answered_and_what_they_cost_is_told(
    tmp_path: Path, platform: ModalPlatform
) -> None:
    with gateway_over(platform, tmp_path) as gateway:
        async with gateway.async_client() as client:
            answer = await client.post("/v1/infer/far", json={"echo": {"hello": 1}, "sleep": 0.1})
            assert (answer.status_code, answer.json()) == (200, {"hello": 1})
            assert float(answer.headers["x-spillgate-cost"]) >= 0.0001
            await read_two_events(client, {"pieces": [1, 2, 3]})
            failed = await client.post("/v1/infer/far", json={"raise": "boo"})
            assert failed.status_code == 502
            assert "boo" in failed.json()["error"]["message"]


async def test_a_call_that_nobody_waits_for_is_cancelled_and_its_seconds_are_charged(
    tmp_path: Path, platform: ModalPlatform
) -> None:
    with gateway_over(platform, tmp_path) as gateway:
        async with gateway.async_client() as client:
            call = asyncio.create_task(client.post("/v1/infer/far", json={"sleep": 50}))

            await until(lambda: platform.running == 1, "the function runs")
            call.cancel()
            await until(lambda: platform.running == 0, "the call is cancelled")
            assert platform.count("FunctionCallCancel") == 1
            await is_charged(client)


async def test_a_stream_that_nobody_reads_any_more_is_cancelled_and_its_seconds_are_charged(
    tmp_path: Path, platform: ModalPlatform
) -> None:
    with gateway_over(platform, tmp_path) as gateway:
        async with gateway.async_client() as client:
            await read_two_events(client, {"pieces": [1, 2, 3], "hold": True})

            await until(lambda: platform.running == 0, "the call is cancelled")
            await is_charged(client)
