"""Who follows a job is told what happens to it, in order, and resumes where it left off; what has
failed is begun again as another job."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock
from tests.gateway.jobs.gateways import JobsGateway, with_jobs
from tests.gateway.jobs.platforms import FakePlatform


def events_in(text: str) -> list[tuple[str, str, Any]]:
    """(id, kind, data) of each."""
    found = []
    for frame in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.splitlines() if line[:1] != ":")
        if fields:
            found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


async def followed(gateway: JobsGateway, client: httpx.AsyncClient, id: str, **headers: str) -> str:
    """All that a client gets which follows the job to its end."""
    asking = asyncio.ensure_future(client.get(f"/v1/jobs/{id}/events", headers=headers))
    await gateway.until_done([asking], 0.5)
    answer = asking.result()
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_a_follower_is_told_each_state_and_at_the_end_the_job(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, queues_for=5.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")
        events = events_in(await followed(gateway, client, job["id"]))
        states = [data["state"] for _, kind, data in events if kind == "state"]
        assert states == ["queued", "starting", "running", "succeeded"]
        kind, data = events[-1][1:]
        assert (kind, data["output"]) == ("job", {"ok": True})


async def test_a_follower_resumes_after_the_last_event_that_came(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")
        await gateway.until_ended(job["id"])
        first = events_in(await followed(gateway, client, job["id"]))
        rest = events_in(
            await followed(gateway, client, job["id"], **{"Last-Event-ID": first[1][0]})
        )
        assert rest == first[2:]


async def test_a_follower_of_a_job_that_waits_hears_its_place_and_that_the_line_lives(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock)
    platform.full = True
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far", deadline="120s")
        text = await followed(gateway, client, job["id"])
        queue = [data for _, kind, data in events_in(text) if kind == "queue"]
        assert queue[0]["position"] == 0
        assert any((one["reason"] or {}).get("message") == "no capacity" for one in queue)
        assert ": waiting" in text


async def test_a_bad_last_event_id_is_said(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        job = await gateway.post(client)
        answer = await client.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": "x"})
        assert (answer.status_code, "Last-Event-ID" in answer.text) == (400, True)
        await gateway.until_ended(job["id"])


async def test_what_has_failed_is_begun_again_as_another_job(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(BackendError(FailureClass.INVALID, "no"))
        job = await gateway.post(client)
        await gateway.until_ended(job["id"])
        answer = await client.post(f"/v1/jobs/{job['id']}/retry")
        again = answer.json()
        ended = await gateway.until_ended(again["id"])
        refused = await client.post(f"/v1/jobs/{again['id']}/retry")
        assert (answer.status_code, again["id"] != job["id"]) == (202, True)
        assert ended.state == "succeeded"
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "job_not_failed")
