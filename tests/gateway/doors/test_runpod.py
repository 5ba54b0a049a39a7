"""RunPod's protocol: its shapes and states, over jobs that cost what every job costs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Reply
from gateway.clock import FakeClock
from gateway.storage.jobs.base import JobsQuery
from tests.gateway.doors.raw import HangUp
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.gateways import TELLS, JobsGateway, with_jobs
from tests.gateway.jobs.platforms import FakePlatform
from tests.gateway.jobs.test_job_webhooks import until_told
from tests.waiting import until

AT = "/runpod/v2"


async def only_job(gateway: JobsGateway) -> str:
    """The id of the one job that there is, once there is one."""
    found: list[str] = []

    async def is_there() -> bool:
        found[:] = [job.id for job in await gateway.jobs.store.find(JobsQuery())]
        return bool(found)

    await until(is_there, "a job was accepted", every_s=0.001)
    return found[0]


async def test_a_job_is_queued_runs_and_is_told_with_its_times(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, queues_for=5.0, runs_for=10.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        accepted = (await client.post(f"{AT}/far/run", json={"input": {"x": 1}})).json()
        where = f"{AT}/far/status/{accepted['id']}"
        await gateway.until_state(accepted["id"], "starting")
        queued = (await client.get(where)).json()
        await gateway.until_state(accepted["id"], "running")
        running = (await client.get(where)).json()
        await gateway.until_ended(accepted["id"])
        done = (await client.get(where)).json()

        assert (accepted["status"], queued["status"]) == ("IN_QUEUE", "IN_QUEUE")
        assert (running["status"], "delayTime" in running) == ("IN_PROGRESS", True)
        assert (done["status"], done["output"]) == ("COMPLETED", {"ok": True})
        assert done["executionTime"] >= 9000
        assert platform.jobs["p1"].call.body == b'{"x":1}'
        assert (await gateway.row(accepted["id"])).cost_nano == 10_000_000


async def test_the_endpoint_may_be_a_backend_that_serves_one_model(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        done = await client.post(f"{AT}/cloud/run", json={"input": {}})
        assert (await gateway.job(done.json()["id"])).model == "far"
        several = await client.post(AT + "/{}/run".format("home"), json={"input": {}})
        assert several.status_code == 400
        assert "any, chat" in several.json()["error"]


@pytest.mark.parametrize(
    "given",
    [
        {"messages": [{"role": "user", "content": "hi"}]},
        {"model": "whatever", "messages": [{"role": "user", "content": "hi"}]},
        {
            "openai_route": "/v1/chat/completions",
            "openai_input": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        },
    ],
    ids=["OpenAI's body", "with a model", "the vLLM worker's"],
)
async def test_a_chat_is_asked_by_its_own_body(
    given: dict[str, Any], tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post(f"{AT}/chat/runsync", json={"input": given})
        assert answer.json()["status"] == "COMPLETED", answer.text
        [call] = gateway.fake("home").calls
        assert json.loads(call.body) == {
            "model": "chat",
            "messages": [{"role": "user", "content": "hi"}],
        }


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("nope/run", {"input": {}}, 404, "no model 'nope'"),
        ("any/run", {}, 400, "'input' is missing"),
        ("any/run", {"input": {}, "s3Config": {}}, 400, "s3Config"),
        ("any/run", {"input": {}, "policy": {"ttl": 9_999}}, 400, "policy.ttl"),
        ("any/run", {"input": {}, "policy": {"executionTimeout": 1}}, 400, "executionTimeout"),
        ("any/run", {"input": {}, "webhook": "https://a.example/"}, 400, "webhooks.jobs"),
        ("any/runsync?wait=10", {"input": {}}, 400, "wait"),
        ("chat/run", {"input": {"openai_route": "/v1/models", "openai_input": {}}}, 400, "route"),
        ("chat/run", {"input": {"messages": [{}], "stream": True}}, 400, "stream"),
        ("any/retry/job_1", {}, 404, "job_1"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_wrong_is_told_as_the_platform_tells_it_and_holds_nothing(
    path: str, body: object, status: int, words: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post(f"{AT}/{path}", json=body)
        assert answer.status_code == status
        assert words in answer.json()["error"]
        assert await gateway.jobs.store.find(JobsQuery()) == []
        assert await gateway.jobs.store.holding() == {}


@pytest.mark.parametrize("header", ["Bearer {}", "{}", "Token {}"])
async def test_the_key_comes_as_the_platform_takes_it(
    header: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        good = {"Authorization": header.format(gateway.key())}
        assert (await client.get(f"{AT}/any/health", headers=good)).status_code == 200
        bad = {"Authorization": header.format("sg-0")}
        refused = await client.get(f"{AT}/any/health", headers=bad)
        assert (refused.status_code, "not known" in refused.json()["error"]) == (401, True)


async def test_another_users_job_is_none_and_so_is_one_of_another_endpoint(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        job = (await client.post(f"{AT}/far/run", json={"input": {}})).json()["id"]
        async with gateway.client(gateway.key("bob")) as bob:
            for path in (f"status/{job}", f"stream/{job}"):
                assert (await bob.get(f"{AT}/far/{path}")).status_code == 404
            assert (await bob.post(f"{AT}/far/cancel/{job}")).status_code == 404
        assert (await client.get(f"{AT}/any/status/{job}")).status_code == 404
        assert (await client.get(f"{AT}/far/status/{job}")).status_code == 200


async def test_output_is_streamed_once_and_told_by_status_for_ever(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(Reply(body=b'["a", {"b": 1}]'))
        job = (await client.post(f"{AT}/any/run", json={"input": {}})).json()["id"]
        await gateway.until_ended(job)
        first = (await client.get(f"{AT}/any/stream/{job}")).json()
        second = (await client.get(f"{AT}/any/stream/{job}")).json()
        assert first == {
            "status": "COMPLETED",
            "stream": [{"output": "a"}, {"output": {"b": 1}}],
        }
        assert second == {"status": "COMPLETED", "stream": []}
        status = (await client.get(f"{AT}/any/status/{job}")).json()
        assert status["output"] == ["a", {"b": 1}]


async def test_a_job_that_runs_longer_than_its_caller_lets_it_is_stopped_and_has_timed_out(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=600.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        asked = {"input": {}, "policy": {"executionTimeout": 30_000}}
        job = (await client.post(f"{AT}/far/run", json=asked)).json()["id"]
        await gateway.until_ended(job)
        shown = (await client.get(f"{AT}/far/status/{job}")).json()
        assert (shown["status"], 29_000 < shown["executionTime"] < 33_000) == ("TIMED_OUT", True)
        assert platform.jobs["p1"].stopped_at is not None
        again = (await client.post(f"{AT}/far/retry/{job}")).json()
        await gateway.until_ended(again["id"])
        assert (await client.get(f"{AT}/far/status/{again['id']}")).json()["status"] == "TIMED_OUT"


async def test_who_hangs_up_before_it_was_told_the_id_pays_for_nothing_more(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=600.0)
    async with with_jobs(tmp_path, clock, platform) as gateway:
        caller = HangUp(gateway.inner, f"{AT}/far/runsync", gateway.key(), {"input": {}})
        id = await only_job(gateway)
        await gateway.until_state(id, "running")
        caller.leave()
        await caller.request
        assert (await gateway.until_ended(id)).state == "canceled"
        assert platform.jobs["p1"].stopped_at is not None
        assert await gateway.jobs.store.holding() == {}


async def test_purge_cancels_what_waits_of_its_caller_and_nobody_else(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock)
    platform.full = True
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        jobs = [
            (await client.post(f"{AT}/far/run", json={"input": {}})).json()["id"] for _ in range(3)
        ]
        async with gateway.client(gateway.key("bob")) as bob:
            his = (await bob.post(f"{AT}/far/run", json={"input": {}})).json()["id"]
        purged = (await client.post(f"{AT}/far/purge-queue")).json()
        ends = [(await gateway.until_ended(job)).state for job in jobs]
        assert (purged["status"], ends) == ("completed", ["canceled"] * 3)
        assert (await gateway.job(his)).state == "queued"


async def test_health_counts_the_callers_jobs_and_the_workers(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(BackendError(FailureClass.INVALID, "no"))
        await client.post(f"{AT}/any/runsync", json={"input": {}})
        await client.post(f"{AT}/any/runsync", json={"input": {}})
        health = (await client.get(f"{AT}/any/health")).json()
        assert health["jobs"] == {
            "completed": 1, "failed": 1, "inProgress": 0, "inQueue": 0, "retried": 0,
        }  # fmt: skip
        assert (health["workers"]["idle"], health["workers"]["running"]) == (1, 0)


async def test_the_webhook_is_told_what_status_tells(tmp_path: Path, clock: FakeClock) -> None:
    told = PlayedClient()
    async with (
        with_jobs(tmp_path, clock, text=TELLS, client=told) as gateway,
        gateway.client() as client,
    ):
        asked = {"input": {}, "webhook": "https://app.example.com/hook"}
        job = (await client.post(f"{AT}/far/run", json=asked)).json()["id"]
        await gateway.until_ended(job)
        await until_told(gateway, told)
        status = (await client.get(f"{AT}/far/status/{job}")).json()
        [sent] = told.sent
        assert (sent.url, json.loads(sent.body)) == ("https://app.example.com/hook", status)
        assert {"delayTime", "executionTime", "output"} <= status.keys()


async def test_a_budget_refuses_a_job_at_the_door(tmp_path: Path, clock: FakeClock) -> None:
    async with (
        with_jobs(tmp_path, clock) as gateway,
        gateway.client(gateway.key(plan="small")) as client,
    ):
        asked = [
            asyncio.ensure_future(client.post(f"{AT}/far/run", json={"input": {}}))
            for _ in range(9)
        ]
        await gateway.until_done(asked, 1.0)  # some wait for room before they are refused
        refused = [one.result() for one in asked if one.result().status_code != 200]
        assert refused
        assert {(one.status_code, one.json()["code"]) for one in refused} == {
            (402, "budget_exhausted")
        }
