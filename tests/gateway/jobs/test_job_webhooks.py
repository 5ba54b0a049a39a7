"""The end of a job is told to the URL that it gave: signed, at least once, by one id."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from adapters.types import Reply
from gateway.clock import FakeClock
from gateway.events.attempts import Receiver, ReceiverAnswer
from tests.gateway.events.receivers import SECRET
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.gateways import TELLS, JobsGateway, with_jobs
from tests.waiting import until

URL = "https://app.example.com/hooks?job=1"


class Verifier(PlayedClient):
    """Takes what the genuine verifier's signature is of."""

    async def post(self, target: Receiver, headers: dict[str, str], body: str) -> ReceiverAnswer:
        at = datetime.datetime.fromtimestamp(int(headers["webhook-timestamp"]), datetime.UTC)
        signature = Webhook(SECRET).sign(headers["webhook-id"], at, body)
        assert headers["webhook-signature"] == signature
        return await super().post(target, headers, body)


async def until_told(gateway: JobsGateway, client: PlayedClient, times: int = 1) -> None:
    async def told() -> bool:
        await gateway.clock.advance(1.0)
        return len(client.sent) >= times

    await until(told, "the end was told", every_s=0.001)


async def test_the_end_is_told_with_the_output_and_the_cost(
    tmp_path: Path, clock: FakeClock
) -> None:
    told = Verifier()
    async with (
        with_jobs(tmp_path, clock, text=TELLS, client=told) as gateway,
        gateway.client() as client,
    ):
        job = await gateway.post(client, "far", webhook=URL)
        await gateway.until_ended(job["id"])
        await until_told(gateway, told)
        [sent] = told.sent
        body = json.loads(sent.body)
        assert (sent.id, sent.url) == (f"{job['id']}_ended", URL)
        assert body["type"] == "job.succeeded"
        assert body["data"]["output"] == {"ok": True}
        assert (body["data"]["id"], body["data"]["cost_usd"]) == (job["id"], "0.01")


async def test_a_receiver_that_fails_is_told_again_by_the_same_id(
    tmp_path: Path, clock: FakeClock
) -> None:
    told = PlayedClient([500, None, 200])
    async with (
        with_jobs(tmp_path, clock, text=TELLS, client=told) as gateway,
        gateway.client() as client,
    ):
        job = await gateway.post(client, webhook=URL)
        await gateway.until_ended(job["id"])
        await until_told(gateway, told, 3)
        assert told.ids == [f"{job['id']}_ended"] * 3


async def test_what_a_gateway_that_ended_could_not_tell_the_next_one_tells(
    tmp_path: Path, clock: FakeClock
) -> None:
    lost, told = PlayedClient([None] * 100), PlayedClient()
    async with (
        with_jobs(tmp_path, clock, text=TELLS, client=lost) as gateway,
        gateway.client() as client,
    ):
        job = await gateway.post(client, webhook=URL)
        await gateway.until_ended(job["id"])
        await until_told(gateway, lost)
    async with with_jobs(tmp_path, clock, text=TELLS, client=told) as gateway:
        await until_told(gateway, told)
        assert set(told.ids) == set(lost.ids)


async def test_a_result_that_is_too_large_is_told_without_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    told = PlayedClient()
    async with (
        with_jobs(tmp_path, clock, text=TELLS, client=told) as gateway,
        gateway.client() as client,
    ):
        gateway.fake("home").tell(Reply(body=json.dumps("x" * 300_000).encode()))
        job = await gateway.post(client, webhook=URL)
        await gateway.until_ended(job["id"])
        await until_told(gateway, told)
        data = json.loads(told.sent[0].body)["data"]
        assert (data["id"], data["too_large"]) == (job["id"], True)
        assert data["bytes"] > 300_000


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://169.254.169.254/latest/meta-data", "private network"),
        ("https://10.0.0.7/hook", "private network"),
        ("https://localhost/hook", "private network"),
        ("ftp://app.example.com/hook", "`webhook`"),
        ("https://user:word@app.example.com/", "may hold only scheme"),
    ],
)
async def test_a_webhook_that_is_not_reached_is_refused(
    tmp_path: Path, clock: FakeClock, url: str, says: str
) -> None:
    async with (
        with_jobs(tmp_path, clock, text=TELLS, client=PlayedClient()) as gateway,
        gateway.client() as client,
    ):
        answer = await client.post("/v1/jobs", json={"model": "any", "input": {}, "webhook": url})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "webhook")
        assert says in answer.text


async def test_a_clouds_own_services_are_no_receiver_in_ones_own_network_either(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = TELLS.replace("webhooks: {", "webhooks: {allow_private: true, ")
    async with (
        with_jobs(tmp_path, clock, text=text, client=PlayedClient()) as gateway,
        gateway.client() as client,
    ):
        for host, status in (("169.254.169.254", 400), ("10.0.0.7", 202)):
            asked = {"model": "any", "input": {}, "webhook": f"http://{host}/hook"}
            answer = await client.post("/v1/jobs", json=asked)
            assert answer.status_code == status, answer.text


async def test_without_a_secret_no_webhook_is_taken(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post("/v1/jobs", json={"model": "any", "input": {}, "webhook": URL})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_job_webhooks")
