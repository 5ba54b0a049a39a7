"""Gateways with files, jobs and batches, which may share their stores one after another."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx

from gateway.app import running
from gateway.clock import FakeClock
from gateway.files.contents import Contents
from gateway.storage.batches.sql_batches import SqlBatches
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.stored_work.serving import StoredWork, serve_stored
from gateway.types import MICRO
from tests.gateway.files.places import places_in
from tests.gateway.jobs.gateways import POLICY, JobsGateway, built
from tests.gateway.jobs.platforms import FakePlatform
from tests.waiting import until

ENDED = ("completed", "failed", "expired", "cancelled")


class BatchesGateway(JobsGateway):
    """A running gateway with batches."""

    async def upload(self, client: httpx.AsyncClient, data: bytes) -> str:
        answer = await client.post(
            "/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", data)}
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    async def batch(
        self, client: httpx.AsyncClient, data: bytes, endpoint: str = "/v1/infer/any", **more: Any
    ) -> dict[str, Any]:
        """A batch that was accepted."""
        headers = more.pop("headers", {})
        asked = {
            "input_file_id": await self.upload(client, data),
            "endpoint": endpoint,
            "completion_window": "24h",
            **more,
        }
        answer = await client.post("/v1/batches", json=asked, headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def shown(self, client: httpx.AsyncClient, id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await client.get(f"/v1/batches/{id}")).json()
        return found

    async def until_status(
        self, client: httpx.AsyncClient, id: str, *statuses: str, step: float = 0.5
    ) -> dict[str, Any]:
        """Time goes by until the batch is so."""
        seen: dict[str, Any] = {}

        async def reached() -> bool:
            nonlocal seen
            await self.clock.advance(step)
            seen = await self.shown(client, id)
            return seen["status"] in statuses

        await until(reached, f"{id} is {statuses}", every_s=0.001)
        return seen

    async def lines(self, client: httpx.AsyncClient, file: str | None) -> list[dict[str, Any]]:
        if file is None:
            return []
        answer = await client.get(f"/v1/files/{file}/content")
        return [json.loads(line) for line in answer.text.splitlines()]


def input_of(bodies: Iterable[Any], url: str = "/v1/infer/any") -> bytes:
    """A line for each."""
    lines = (
        {"custom_id": f"c{number}", "method": "POST", "url": url, "body": body}
        for number, body in enumerate(bodies, 1)
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@contextlib.asynccontextmanager
async def with_batches(
    folder: Path,
    clock: FakeClock,
    platform: FakePlatform | None = None,
    text: str = POLICY,
    contents: Contents | None = None,
) -> AsyncIterator[BatchesGateway]:
    """``contents``: where files' bytes are; left out: in a folder."""
    platform = platform or FakePlatform(clock)
    inner = built(folder, clock, platform, text)
    stored = stored_in(folder, clock)
    if contents is not None:
        stored = stored._replace(files=stored.files._replace(contents=contents))
    serve_stored(inner, stored)
    async with running(inner):
        yield BatchesGateway(inner, clock, platform)


def stored_in(folder: Path, clock: FakeClock) -> StoredWork:
    statements = SqliteStatements(folder / "ledger.db", now_us=lambda: round(clock.time() * MICRO))
    return StoredWork(places_in(folder, clock), SqlBatches(statements))
