"""How long a call stands in line, with a gateway of its own process and a server that is slow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

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
  brief: {{task: chat, backends: [only], max_wait: 4s, slo: 5s}}
  patient: {{task: chat, backends: [only], max_wait: 5m, slo: 5s}}
prices:
  tokens: {{per_million_input: 1000, per_million_output: 1000, as_of: 2026-11-01, source: test}}
"""
QUICK = 8
"""Calls from which it is known that runs are short, so that a line is worth standing in."""


class SlowServer:
    """Answers nobody before it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.models: list[bytes] = []

    async def play(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.models.append(b"brief" if b'"brief"' in asked.body else b"patient")
        await self.may.wait()
        await well(asked, writer)


def ask(client: httpx.AsyncClient, model: str, **more: Any) -> asyncio.Task[httpx.Response]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    return asyncio.ensure_future(client.post("/v1/chat/completions", json=body))


async def test_a_call_stands_in_line_for_as_long_as_its_model_says_and_is_told_so_then(
    tmp_path: Path,
) -> None:
    """It was sent to nobody and costs nothing; one that may wait longer has its turn, and one that
    runs has its time."""
    server = SlowServer()
    async with FaultyServer(server.play) as slow:
        gateway = LiveGateway(tmp_path, CONFIG.format(url=slow.url))
        await asyncio.to_thread(gateway.start)  # which asks the server how it is
        try:
            async with gateway.async_client() as client:
                for _ in range(QUICK):
                    assert (await ask(client, "patient")).status_code == 200
                server.may.clear()
                runs = ask(client, "patient")
                await until(lambda: len(server.models) == QUICK + 1, "a call runs")
                patient = ask(client, "patient")
                asked = [ask(client, "brief", stream=stream) for stream in (False, True)]
                told = [await one for one in asked]
                assert [runs.done(), patient.done()] == [False, False]
                server.may.set()
                answers = [await runs, await patient]
                ids = [one.headers["x-request-id"] for one in told]
                rows = [await client.get(f"/usage/{id}") for id in ids]
        finally:
            await asyncio.to_thread(gateway.stop)

    for one in told:
        assert error_of(one) == (503, "no_backend")
        assert "max_wait" in one.json()["error"]["message"]
        assert one.headers["x-should-retry"] == "true"
        assert int(one.headers["Retry-After"]) > 0
    for row in rows:
        told_later = row.json()
        assert (told_later["outcome"], told_later["error"]) == ("error", "no_backend")
        assert (told_later["total_cost_nano"], told_later["attempts"]) == (0, [])
    assert [answer.status_code for answer in answers] == [200, 200]
    assert server.models == [b"patient"] * (QUICK + 2)
