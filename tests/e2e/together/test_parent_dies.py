"""The parent is killed: what its processes were doing ends, none of them stays, and the next start
knows all that was spent."""

from __future__ import annotations

import asyncio
import collections
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.together.gateways import alive, ask, gateway_in, open_calls, settled
from tests.live import LiveGateway
from tests.waiting import until


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LiveGateway]:
    with gateway_in(tmp_path) as running:
        yield running


class Callers:
    """Each asks again and again, until nobody answers."""

    def __init__(self, gateway: LiveGateway) -> None:
        self.answered: list[str] = []
        self.refused: collections.Counter[tuple[int, str]] = collections.Counter()
        self._gateway = gateway

    async def run(self, callers: int) -> None:
        async with self._gateway.async_client() as client:
            await asyncio.gather(*(self._keep_asking(client) for _ in range(callers)))

    async def _keep_asking(self, client: httpx.AsyncClient) -> None:
        while True:
            try:
                answer = await ask(client)
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                self.answered.append(answer.headers["x-request-id"])
            else:
                self.refused[answer.status_code, answer.json()["error"]["code"]] += 1


async def test_processes_end_with_their_parent_and_the_books_are_right_at_the_next_start(
    gateway: LiveGateway,
) -> None:
    await until(lambda: len(alive(gateway)) == 2, "two serve")
    processes = alive(gateway)
    callers = Callers(gateway)
    running = asyncio.create_task(callers.run(8))
    await until(lambda: len(callers.answered) > 50, "the load runs")
    gateway.kill()
    await running
    await until(lambda: not any(map(exists, processes)), "both have ended", within_s=40.0)
    assert {status for status, _ in callers.refused} <= {502, 503}, callers.refused

    await asyncio.to_thread(gateway.start)
    await until(lambda: open_calls(gateway) == 0, "what was open is settled", within_s=10.0)
    rows = settled(gateway)
    outcomes = {id: outcome for id, outcome, _ in rows}
    assert len(outcomes) == len(rows)
    assert {outcomes.get(id) for id in callers.answered} == {"success"}
    spent = sum(cost for _, _, cost in rows)
    async with gateway.async_client() as client:
        limits = (await client.get("/v1/me")).json()["limits"]
    left = {one["unit"]: one["remaining"] for one in limits}
    assert left["usd"] == pytest.approx(100 - spent / 1e9)
    assert left["concurrent"] == 5000


def exists(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return True
