"""A whole gateway in front of workers on two machines, of which one dies under load."""

from __future__ import annotations

import asyncio
import collections
import sqlite3
from pathlib import Path

import httpx

from tests.adapters.local.ray_clusters import RayCluster, ray_cluster
from tests.live import LiveGateway
from tests.waiting import until

CALLS = 48

CONFIG = """
backends:
  home:
    kind: local
    app: tests/programs/placed.py:app
    required: true
    price: own
    workers: {{engine: ray, address: "{address}", gpus: 0, replicas: {{min: 2}}}}
models:
  near: {{task: infer, backends: [home]}}
prices:
  own: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
plans:
  default: {{requests: 1000000/minute, concurrent: 1000, spend: 100 USD/month}}
"""


async def test_a_machine_that_dies_under_load_costs_no_call_and_each_has_one_row(
    tmp_path: Path,
) -> None:
    """What ran on it runs again on the other machine; what waited in line goes there too."""
    with ray_cluster() as cluster:
        doomed, _ = cluster.add(cpus=1), cluster.add(cpus=1)
        config = CONFIG.format(address=cluster.address)
        with LiveGateway(tmp_path, config, server={"access_log": False}) as gateway:
            await until(lambda: slots(gateway) == 8, "a worker on each machine")
            answers = await answers_while(gateway, cluster, doomed)
        check_the_books(gateway.data / "ledger.db", answers)


def slots(gateway: LiveGateway) -> int:
    """Calls that the backend runs at once: four in each worker."""
    with gateway.client(gateway.admin_key) as client:
        (backend,) = client.get("/admin/backends").json()["backends"]
    found: int = backend["slots"]
    return found


async def answers_while(
    gateway: LiveGateway, cluster: RayCluster, doomed: str
) -> list[httpx.Response]:
    async with gateway.async_client() as client:
        calls = [
            asyncio.create_task(client.post("/v1/infer/near", json={"sleep": 0.5, "say": n}))
            for n in range(CALLS)
        ]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(cluster.kill, doomed)
        return await asyncio.gather(*calls)


def check_the_books(ledger: Path, answers: list[httpx.Response]) -> None:
    assert [answer.status_code for answer in answers] == [200] * CALLS
    assert [answer.json()["said"] for answer in answers] == list(range(CALLS))
    assert len({answer.json()["pid"] for answer in answers}) >= 2
    ids = {answer.headers["x-request-id"] for answer in answers}
    with sqlite3.connect(ledger) as connection:
        rows = connection.execute("SELECT id, outcome FROM entries WHERE kind = 'call'").fetchall()
    connection.close()
    assert collections.Counter(id for id, _ in rows) == dict.fromkeys(ids, 1)
    assert {outcome for _, outcome in rows} == {"success"}
