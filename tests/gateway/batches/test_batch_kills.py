"""The walk of kills: a gateway dies at every step of a batch's life, and the next one sees it to
its end: each line answered once, at the ledger's cost, and with one job at the platform at most."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import FakeClock
from gateway.storage.batches.base import BatchesQuery
from gateway.storage.batches.sql_batches import SqlBatches
from gateway.storage.queries import UsageQuery
from gateway.stored_work.serving import StoredWork, serve_stored
from gateway.types import MICRO, NANO
from tests.gateway.batches.gateways import ENDED, BatchesGateway, input_of, with_batches
from tests.gateway.events.senders import PlayedClient
from tests.gateway.files.places import places_in
from tests.gateway.jobs.dying import DyingStatements, Fuse, Moment, Outage, Side, dying
from tests.gateway.jobs.gateways import POLICY, JobsGateway
from tests.gateway.jobs.platforms import FakePlatform
from tests.waiting import until

LINES = 3


@contextlib.asynccontextmanager
async def dying_batches(
    folder: Path, clock: FakeClock, platform: FakePlatform, fuse: Fuse
) -> AsyncIterator[BatchesGateway]:
    def serve(gateway: Any) -> None:
        statements = DyingStatements(
            folder / "ledger.db", now_us=lambda: round(clock.time() * MICRO)
        )
        statements.fuse = fuse
        serve_stored(gateway, StoredWork(places_in(folder, clock), SqlBatches(statements)))

    told = PlayedClient()
    async with dying(folder, clock, platform, fuse, told, POLICY, also=serve) as gateway:
        yield BatchesGateway(gateway.inner, clock, platform)


async def lives_until(gateway: BatchesGateway, fuse: Fuse, model: str, canceled: bool) -> None:
    """Somebody asks for a batch, and time goes by, until the gateway dies or the batch ends."""
    url = f"/v1/infer/{model}"
    async with gateway.client() as client:
        data = input_of([{"x": n} for n in range(LINES)], url)
        asked = {"endpoint": url, "completion_window": "24h"}
        asked["input_file_id"] = await gateway.upload(client, data)
        fuse.armed = True
        asking = asyncio.ensure_future(client.post("/v1/batches", json=asked))
        canceling: list[asyncio.Future[httpx.Response]] = []
        batches = gateway.inner.batches
        assert batches is not None

        async def over() -> bool:
            await gateway.clock.advance(0.25)
            if fuse.blown.is_set():
                return True
            found = await batches.store.find(BatchesQuery())
            if canceled and found and found[0].state == "in_progress" and not canceling:
                posting = client.post(f"/v1/batches/{found[0].id}/cancel")
                canceling.append(asyncio.ensure_future(posting))
            return bool(found) and found[0].ended_at is not None

        await until(over, "the gateway dies or the batch ends", every_s=0.001)
        if not fuse.blown.is_set():
            await asyncio.wait((asking, *canceling))


async def found_again(
    folder: Path, clock: FakeClock, platform: FakePlatform, model: str, where: str
) -> None:
    """What the next gateway makes of it."""
    async with with_batches(folder, clock, platform) as gateway, gateway.client() as client:
        listed = (await client.get("/v1/batches")).json()["data"]
        assert len(listed) <= 1, where
        for one in listed:
            ended = await gateway.until_status(client, one["id"], *ENDED, step=1.0)
            await check(gateway, client, ended, where)
        if model == "far":
            assert len(platform.jobs) <= LINES, where


async def check(
    gateway: JobsGateway, client: httpx.AsyncClient, ended: dict[str, Any], where: str
) -> None:
    assert isinstance(gateway, BatchesGateway)
    assert ended["status"] in ("completed", "cancelled"), where
    lines = await gateway.lines(client, ended["output_file_id"])
    errors = await gateway.lines(client, ended["error_file_id"])
    told = sorted(line["custom_id"] for line in (*lines, *errors))
    assert told == [f"c{n}" for n in range(1, LINES + 1)], where
    usage = await gateway.inner.ledger.usage(UsageQuery(where={"tag:batch": ended["id"]}))
    cost = sum(row.cost_nano for row in usage.rows)
    assert float(ended["cost_usd"]) == pytest.approx(cost / NANO), where
    if ended["status"] == "completed":
        codes = {line["response"]["body"]["error"]["code"] for line in errors}
        assert codes <= {"interrupted"}, where


async def die_at(step: int, moment: Moment, folder: Path, model: str, canceled: bool) -> bool:
    """False where a batch has no such step."""
    clock = FakeClock()
    platform = FakePlatform(clock, runs_for=1.0)
    folder.mkdir()
    fuse = Fuse(step, moment)
    async with dying_batches(folder, clock, platform, fuse) as gateway:
        await lives_until(gateway, fuse, model, canceled)
        died = len(fuse.steps) >= step
    await found_again(
        folder, clock, platform, model, f"died {moment} step {step}, {fuse.steps[-1]}"
    )
    return died


WALKS = [
    pytest.param("far", False, id="a platform has its lines"),
    pytest.param("any", False, id="a worker of this machine has its lines"),
    pytest.param("far", True, id="it is cancelled"),
]


@pytest.mark.parametrize(("model", "canceled"), WALKS)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_each_line_is_answered_once_wherever_the_gateway_dies(
    model: str, canceled: bool, moment: Moment, tmp_path: Path
) -> None:
    step = 1
    while await die_at(step, moment, tmp_path / f"{step}", model, canceled):
        step += 1
    assert step > 10


async def away_at(step: int, moment: Moment, side: Side, folder: Path) -> bool:
    """False where a batch has no such step."""
    clock = FakeClock()
    platform = FakePlatform(clock, runs_for=1.0)
    folder.mkdir()
    outage = Outage(step, moment, side, clock)
    async with (
        dying_batches(folder, clock, platform, outage) as gateway,
        gateway.client() as client,
    ):
        url = "/v1/infer/far"
        asked = {"endpoint": url, "completion_window": "24h"}
        data = input_of([{"x": n} for n in range(LINES)], url)
        asked["input_file_id"] = await gateway.upload(client, data)
        outage.armed = True
        asking = asyncio.ensure_future(client.post("/v1/batches", json=asked))
        listed: list[dict[str, Any]] = []

        async def over() -> bool:
            await clock.advance(0.5)
            if outage.is_away:
                return False
            answer = await client.get("/v1/batches")
            if answer.status_code != 200:  # it went just now
                return False
            listed[:] = answer.json()["data"]
            if not listed:  # it was refused, or is about to be
                return asking.done()
            return all(one["status"] in ENDED for one in listed)

        await until(over, "the batch ends", every_s=0.001)
        where = f"{side} is away {moment} step {step}, {outage.steps[step - 1 :]}"
        for one in listed:
            await check(gateway, client, one, where)
            assert len(platform.jobs) <= LINES, where
    return len(outage.steps) >= step


@pytest.mark.parametrize(
    ("moment", "side"), [("before", "store"), ("after", "store"), ("before", "shared")]
)
async def test_each_line_is_answered_once_whoever_is_away_for_a_while_at_whichever_step(
    side: Side, moment: Moment, tmp_path: Path
) -> None:
    step = 1
    while await away_at(step, moment, side, tmp_path / f"{step}"):
        step += 1
    assert step > 10
