"""Who follows a job is told what happens to it, in order, and resumes where it left off; what has
failed is begun again as another job."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import JobState
from gateway.clock import FakeClock
from gateway.jobs.news import MOST_TOLD
from gateway.storage.jobs.base import StoredJob
from gateway.storage.jobs.sql_jobs import SqlJobs
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


class CountedJobs(SqlJobs):
    """Counts how often a job was read whole."""

    whole = 0

    async def get(self, id: str) -> StoredJob | None:
        self.whole += 1
        return await super().get(id)


@pytest.mark.parametrize("way", ["/events", "?wait=60s"])
async def test_who_waits_for_a_job_reads_it_whole_at_its_end_alone(
    way: str, tmp_path: Path, clock: FakeClock
) -> None:
    """What it was asked and what it answered may be megabytes, and a look is taken each second."""
    platform = FakePlatform(clock, queues_for=20.0)
    async with (
        with_jobs(tmp_path, clock, platform, jobs=CountedJobs) as gateway,
        gateway.client() as client,
    ):
        store = gateway.jobs.store
        assert isinstance(store, CountedJobs)
        job = await gateway.post(client, "far")
        before = store.whole
        waiting = asyncio.ensure_future(client.get(f"/v1/jobs/{job['id']}{way}"))
        await gateway.until_done([waiting], 0.5)
        assert '"output":{"ok":true}' in waiting.result().text
        assert store.whole == before + 2, "whose it is, and its end"


def says(ran_s: float) -> JobState:
    """A line and a piece a second, and how far it is."""
    seconds = int(ran_s)
    return JobState(
        status="running",
        logs="".join(f"line {n}\n" for n in range(seconds)),
        progress=msgspec.Raw(b'{\n  "percent": %d\n}' % (10 * seconds)),
        pieces=tuple(msgspec.Raw(b'"w%d "' % n) for n in range(seconds)),
    )


def whole(events: list[tuple[str, str, Any]]) -> tuple[str, str, list[int]]:
    """Logs, output and progress as a follower puts them together, without a gap or a repetition."""
    logs, pieces, percent = "", list[str](), list[int]()
    for _, kind, data in events:
        if kind == "log":
            assert data["at"] == len(logs)
            logs += data["text"]
        elif kind == "output":
            assert data["index"] == len(pieces)
            pieces += data["pieces"]
        elif kind == "progress":
            percent.append(data["progress"]["percent"])
    return logs, "".join(pieces), percent


@pytest.mark.parametrize("changes_hands", [False, True])
async def test_a_follower_is_told_what_the_platform_says_of_the_run(
    changes_hands: bool, tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=30.0)
    platform.says = says
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        id = (await gateway.post(client, "far"))["id"]
        await gateway.until_state(id, "running")
        await gateway.clock.advance(7.0)
        if not changes_hands:
            await gateway.until_ended(id)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        await gateway.until_ended(id)
        logs, output, percent = whole(events_in(await followed(gateway, client, id)))
    assert int(logs.split()[-1]) >= 29
    assert int(output.split()[-1].removeprefix("w")) >= 20
    # Whoever takes the job over does not know what the one before had told last.
    assert percent == sorted(percent)
    assert len(percent) - len(set(percent)) <= int(changes_hands)


async def test_a_follower_who_comes_late_is_told_all_before_the_end(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        id = (await gateway.post(client))["id"]
        await gateway.until_ended(id)
        for n in range(510):  # more than one look gives
            await gateway.jobs.store.note(id, "log", f'{{"at":{n},"text":"x"}}')
        events = events_in(await followed(gateway, client, id))
        assert [kind for _, kind, _ in events].count("log") == 510
        assert events[-1][1] == "job"


async def test_of_a_platform_that_says_too_much_a_follower_is_told_a_part(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=30.0)
    platform.says = lambda ran_s: JobState(status="running", logs="x" * int(ran_s * MOST_TOLD))
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        id = (await gateway.post(client, "far"))["id"]
        await gateway.until_ended(id)
        logs, _, _ = whole(events_in(await followed(gateway, client, id)))
        assert len(logs) == MOST_TOLD


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
