"""Whoever may see a job sees what came of telling its end, and may have it told once more."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import FakeClock
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.gateways import TELLS, with_jobs
from tests.gateway.jobs.test_job_webhooks import URL, until_told


async def test_a_receiver_that_was_gone_is_told_once_more_on_request(
    tmp_path: Path, clock: FakeClock
) -> None:
    told = PlayedClient([410])
    async with (
        with_jobs(tmp_path, clock, text=TELLS, client=told) as gateway,
        gateway.client() as client,
    ):
        job = await gateway.post(client, webhook=URL)
        await gateway.until_ended(job["id"])
        await until_told(gateway, told)
        assert gateway.inner.notices is not None
        await gateway.inner.notices.sender.idle()
        before = (await client.get(f"/v1/jobs/{job['id']}/deliveries")).json()
        again = await client.post(f"/v1/jobs/{job['id']}/redeliver")
        await until_told(gateway, told, 2)
        await gateway.inner.notices.sender.idle()
        after = (await client.get(f"/v1/jobs/{job['id']}/deliveries")).json()
        assert [one["status"] for one in before["data"]] == [410]
        assert (before["disabled_at"] is None, after["disabled_at"]) == (False, None)
        assert (again.status_code, again.json()["id"]) == (200, f"{job['id']}_ended")
        assert [one["status"] for one in after["data"]] == [200, 410]
        assert told.ids == [f"{job['id']}_ended"] * 2


async def test_another_user_sees_and_sends_nothing(tmp_path: Path, clock: FakeClock) -> None:
    told = PlayedClient()
    async with (
        with_jobs(tmp_path, clock, text=TELLS, client=told) as gateway,
        gateway.client() as client,
        gateway.client(gateway.key("bob")) as bob,
    ):
        job = await gateway.post(client, webhook=URL)
        answers = [
            await bob.get(f"/v1/jobs/{job['id']}/deliveries"),
            await bob.post(f"/v1/jobs/{job['id']}/redeliver"),
        ]
        assert [one.status_code for one in answers] == [404, 404]


async def test_a_job_that_tells_nobody_says_so(tmp_path: Path, clock: FakeClock) -> None:
    async with (
        with_jobs(tmp_path, clock, text=TELLS, client=PlayedClient()) as gateway,
        gateway.client() as client,
    ):
        job = await gateway.post(client)
        answer = await client.post(f"/v1/jobs/{job['id']}/redeliver")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_webhook")
