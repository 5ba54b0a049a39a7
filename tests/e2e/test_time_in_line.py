"""How long a call stands in line, with a gateway of its own process and a server that is slow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.observing import error_of
from tests.e2e.servers.faulty import FaultyServer, well
from tests.live import LiveGateway
from tests.programs.faults.speech import Asked
from tests.waiting import until

CONFIG = """
backends:
  only: {{kind: openai, base_url: "{url}", engine: none, concurrency: 1, price: tokens,
          expect: 50ms}}
models:
  brief: {{task: chat, backends: [only], max_wait: 1s, slo: 5s}}
  patient: {{task: chat, backends: [only], max_wait: 5m, slo: 5s}}
prices:
  tokens: {{per_million_input: 1000, per_million_output: 1000, as_of: 2026-11-01, source: test}}
"""


class SlowServer:
    """Answers nobody before it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.models: list[bytes] = []

    async def play(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.models.append(b"brief" if b'"brief"' in asked.body else b"patient")
        await self.may.wait()
        await well(asked, writer)


def ask(client: httpx.AsyncClient, model: str, **more: Any) -> asyncio.Task[httpx.Response]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    return asyncio.ensure_future(client.post("/v1/chat/completions", json=body))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_call_stands_in_line_for_as_long_as_its_model_says_and_is_told_so_then(
    stream: bool, tmp_path: Path
) -> None:
    """It was sent to nobody and costs nothing; one that may wait longer has its turn, and one that
    runs has its time."""
    server = SlowServer()
    async with FaultyServer(server.play) as slow:
        gateway = LiveGateway(tmp_path, CONFIG.format(url=slow.url))
        await asyncio.to_thread(gateway.start)  # which asks the server how it is
        try:
            async with gateway.async_client() as client:
                runs = ask(client, "brief")
                await until(lambda: len(server.models) == 1, "the first call runs")
                patient = ask(client, "patient")
                told = await ask(client, "brief", stream=stream)
                assert [runs.done(), patient.done()] == [False, False]
                server.may.set()
                answers = [await runs, await patient]
                row = await client.get(f"/usage/{told.headers['x-request-id']}")
        finally:
            await asyncio.to_thread(gateway.stop)

    assert error_of(told) == (503, "no_backend")
    assert "max_wait" in told.json()["error"]["message"]
    assert told.headers["x-should-retry"] == "true"
    assert int(told.headers["Retry-After"]) > 0
    assert row.status_code == 404
    assert [answer.status_code for answer in answers] == [200, 200]
    assert server.models == [b"brief", b"patient"]
