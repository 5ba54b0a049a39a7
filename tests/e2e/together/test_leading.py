"""Two processes on one port, one of which does for both what must be done once."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.together.gateways import alive, gateway_in, open_calls, started
from tests.live import LiveGateway
from tests.waiting import until

EVERY_S = 1.5
CONFIG = f"""
backends:
  home: {{kind: local, app: tests/programs/echo.py:app, required: true}}
models:
  near: {{task: infer, backends: [home]}}
warm_pool:
  home: {{keep: always, ping_every: {EVERY_S}s}}
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LiveGateway]:
    with gateway_in(tmp_path, config=CONFIG) as running:
        yield running


def pings(gateway: LiveGateway) -> list[float]:
    """When each was sent that has ended."""
    with closing(sqlite3.connect(gateway.data / "ledger.db")) as connection:
        query = "SELECT started_at FROM entries WHERE kind = 'ping' ORDER BY started_at"
        return [us / 1e6 for (us,) in connection.execute(query)]


async def leaders(gateway: LiveGateway) -> list[float]:
    """What each process says of itself."""
    async with gateway.async_client("") as client:
        text = (await client.get("/metrics")).text
    samples = (one for family in text_string_to_metric_families(text) for one in family.samples)
    return sorted(one.value for one in samples if one.name == "spillgate_leads")


async def until_pinged(gateway: LiveGateway, more: int) -> None:
    enough = len(pings(gateway)) + more
    await until(lambda: len(pings(gateway)) >= enough, f"{more} pings more", every_s=0.05)


async def test_one_leads_and_when_it_is_killed_another_does(gateway: LiveGateway) -> None:
    """Whichever it was: each is killed in turn. Pings go on, and never come from two."""
    await until(lambda: len(alive(gateway)) == 2, "two serve")
    await until(lambda: leads_one(gateway), "one leads")
    await until_pinged(gateway, 2)
    for pid in alive(gateway):
        before = len(started(gateway))
        os.kill(pid, signal.SIGKILL)
        await until(lambda: len(started(gateway)) > before, "another is started")  # noqa: B023
        await until(lambda: len(alive(gateway)) == 2, "two serve")
        await until(lambda: leads_one(gateway), "one leads")
        await until_pinged(gateway, 2)
    sent = pings(gateway)
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert sum(gap < EVERY_S - 0.5 for gap in gaps) <= 2, gaps  # a new leader asks what is warm
    await until(lambda: open_calls(gateway) == 0, "what the killed left open is settled")


async def leads_one(gateway: LiveGateway) -> bool:
    return await leaders(gateway) == [0.0, 1.0]


async def test_a_rolling_restart_hands_over_at_once(gateway: LiveGateway) -> None:
    await until(lambda: len(alive(gateway)) == 2, "two serve")
    await until(lambda: leads_one(gateway), "one leads")
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGUSR2)
    await until(lambda: len(started(gateway)) == 4 and len(alive(gateway)) == 2, "all are new")
    await until(lambda: leads_one(gateway), "one of the new ones leads", within_s=4.0)
    await until_pinged(gateway, 2)
