"""Banana's protocol: a call that is made once, by the statuses that its client knows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock
from gateway.storage.jobs.base import JobsQuery
from tests.gateway.doors.raw import HangUp
from tests.gateway.doors.test_runpod import only_job
from tests.gateway.jobs.gateways import with_jobs
from tests.gateway.jobs.platforms import FakePlatform


async def test_a_call_that_is_sent_again_is_made_once(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        headers = {"X-BANANA-API-KEY": gateway.key(), "X-BANANA-REQUEST-ID": "one"}
        del client.headers["authorization"]
        first = await client.post("/banana/any/", json={"x": 1}, headers=headers)
        again = await client.post("/banana/any/", json={"x": 1}, headers=headers)
        other = await client.post("/banana/any/", json={"x": 2}, headers=headers)
        assert (first.json(), again.json()) == ({"ok": True}, {"ok": True})
        assert other.status_code == 409
        assert len(gateway.fake("home").calls) == 1
        assert await gateway.spent() == (await gateway.row(await only_job(gateway))).cost_nano


async def test_calls_at_once_with_one_id_are_one(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        headers = {"X-BANANA-REQUEST-ID": "two"}
        answers = await asyncio.gather(
            *(client.post("/banana/any", json={}, headers=headers) for _ in range(4))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert len(gateway.fake("home").calls) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("any", b"{", 422), ("nope", b"{}", 404), ("any/generate", b"{}", 404)],
    ids=["no JSON", "no model", "no such route"],
)
async def test_what_is_wrong_is_not_what_its_client_sends_again(
    path: str, body: bytes, status: int, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post(f"/banana/{path}", content=body)
        assert (answer.status_code, bool(answer.json()["error"])) == (status, True)
        assert await gateway.jobs.store.find(JobsQuery()) == []


async def test_a_call_that_fails_is_told_once_and_a_bad_key_too(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(BackendError(FailureClass.INVALID, "`x` must be a text."))
        failed = await client.post("/banana/any", json={})
        del client.headers["authorization"]
        unknown = await client.post("/banana/any", json={}, headers={"X-BANANA-API-KEY": "sg-0"})
        assert (failed.status_code, failed.json()["error"]) == (422, "`x` must be a text.")
        assert unknown.status_code == 401


async def test_who_hangs_up_pays_for_nothing_more(tmp_path: Path, clock: FakeClock) -> None:
    platform = FakePlatform(clock, runs_for=600.0)
    async with with_jobs(tmp_path, clock, platform) as gateway:
        caller = HangUp(gateway.inner, "/banana/far", gateway.key(), {})
        id = await only_job(gateway)
        await gateway.until_state(id, "running")
        caller.leave()
        await caller.request
        assert (await gateway.until_ended(id)).state == "canceled"
        assert platform.jobs["p1"].stopped_at is not None


async def test_a_warmup_says_whether_a_worker_is_warm(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post("/banana/any/_k/warmup", json={})
        assert answer.json() == {"warm": True}
