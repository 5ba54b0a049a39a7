"""Gateways that run jobs over embedded stores; several may share them, one after another."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from adapters.base import Backend
from adapters.fake import Fake
from gateway.app import build_gateway, running
from gateway.clock import FakeClock
from gateway.events.attempts import MessageClient
from gateway.jobs.jobs import Jobs
from gateway.policy.model import BackendSpec
from gateway.service import Gateway
from gateway.storage.base import SharedStore
from gateway.storage.jobs.base import StoredJob
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.jobs.states import ENDED
from gateway.storage.memory import MemorySharedStore
from gateway.storage.sql_outbox import SqlOutbox
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.storage.streams.sql_streams import SqlStreams
from gateway.types import MICRO
from gateway.warm.kept import FileKept
from tests.gateway.assembled import PATIENCE_S, AssembledGateway, read
from tests.gateway.events.receivers import SECRET
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.platforms import FakePlatform, PlatformBackend
from tests.waiting import until

POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  home: {kind: fake, slots: 1, price: reserved, expect: 1s}
  cloud: {kind: fake, slots: null, price: flex, expect: 10s, max_run: 2h}
models:
  any: {task: infer, backends: [home], slo: 60s}
  far: {task: infer, backends: [cloud], slo: 60s}
  chat: {task: chat, backends: [home], slo: 60s}
prices:
  reserved: {per_hour: 3.6, as_of: 2026-11-01, source: test}
  flex: {per_second: 0.001, as_of: 2026-11-01, source: test}
plans:
  default: {requests: 1000/minute, concurrent: 100, spend: 5 USD/month}
  small: {concurrent: 100, spend: 0.05 USD/month}
  single: {concurrent: 1, spend: 5 USD/month}
"""


TELLS = POLICY + 'webhooks: {jobs: {secret: "${SECRET}"}}\n'


class JobsGateway(AssembledGateway):
    """A running gateway with jobs, at a platform that outlives it."""

    def __init__(self, inner: Gateway, clock: FakeClock, platform: FakePlatform) -> None:
        super().__init__(inner, clock)
        self.platform = platform

    @property
    def jobs(self) -> Jobs:
        assert self.inner.jobs is not None
        return self.inner.jobs

    async def job(self, id: str) -> StoredJob:
        found = await self.jobs.store.get(id)
        assert found is not None
        return found

    async def until_state(self, id: str, *states: str, step: float = 0.5) -> StoredJob:
        """Time goes by until the job is in one of these states."""

        async def reached() -> bool:
            await self.clock.advance(step)
            return (await self.job(id)).state in states

        await until(reached, f"{id} is {states}", every_s=0.001)
        return await self.job(id)

    async def until_ended(self, id: str, step: float = 0.5) -> StoredJob:
        return await self.until_state(id, *ENDED, step=step)

    async def post(
        self, client: httpx.AsyncClient, model: str = "any", **more: Any
    ) -> dict[str, Any]:
        """An accepted job."""
        body = {"model": model, "input": {"x": 1}, **more}
        answer = await client.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found


def built(
    folder: Path,
    clock: FakeClock,
    platform: FakePlatform,
    text: str = POLICY,
    shared: SharedStore | None = None,
    client: MessageClient | None = None,
    jobs: type[SqlJobs] = SqlJobs,
) -> Gateway:
    def make(spec: BackendSpec) -> Backend:
        if spec.name == "cloud":
            return PlatformBackend(spec.name, spec.settings, clock, platform)
        return Fake(spec.name, spec.settings, clock)

    path = folder / "ledger.db"

    def statements() -> SqliteStatements:
        return SqliteStatements(path, now_us=lambda: round(clock.time() * MICRO))

    return build_gateway(
        read(text, {"SECRET": SECRET}),
        clock=clock,
        keys=SqliteKeys(folder / "keys.db", clock=clock),
        ledger=SqliteLedger(path, clock=clock, write_timeout_s=PATIENCE_S),
        shared=shared or MemorySharedStore(clock),
        make_backend=make,
        load=lambda: read(text, {"SECRET": SECRET}),
        random_source=random.Random(7),
        kept_workers=FileKept(folder / "kept-workers.json"),
        jobs=jobs(statements()),
        streams=SqlStreams(statements()),
        outbox=None if client is None else SqlOutbox(statements()),
        client=lambda: client or PlayedClient(),
    )


@contextlib.asynccontextmanager
async def with_jobs(
    folder: Path,
    clock: FakeClock,
    platform: FakePlatform | None = None,
    text: str = POLICY,
    shared: SharedStore | None = None,
    client: MessageClient | None = None,
    jobs: type[SqlJobs] = SqlJobs,
) -> AsyncIterator[JobsGateway]:
    """Started as the real one is, and ended in good order."""
    platform = platform or FakePlatform(clock)
    async with running(built(folder, clock, platform, text, shared, client, jobs)) as inner:
        yield JobsGateway(inner, clock, platform)


async def settle_threads() -> None:
    """Lets the stores' threads answer."""
    await asyncio.sleep(0.005)


async def being_named(
    gateway: JobsGateway, client: httpx.AsyncClient, platform: FakePlatform
) -> str:
    """The id of a job that the platform has, and has not named yet."""
    platform.names.clear()
    id: str = (await gateway.post(client, "far"))["id"]
    await until(lambda: bool(platform.jobs), "the platform has it", every_s=0.001)
    return id
