"""A job is accepted durably, runs as any other call, costs what that does, and ends once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from tests.gateway.jobs.gateways import with_jobs
from tests.gateway.jobs.platforms import FakePlatform
from tests.waiting import until


async def test_a_job_runs_and_gives_its_output_and_its_cost(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        accepted = await client.post("/v1/jobs", json={"model": "far", "input": {"x": 1}})
        job = accepted.json()
        await gateway.until_ended(job["id"])
        shown = (await client.get(f"/v1/jobs/{job['id']}")).json()

        assert accepted.status_code == 202
        assert accepted.headers["location"] == f"/v1/jobs/{job['id']}"
        assert (job["state"], shown["state"]) == ("queued", "succeeded")
        assert (shown["output"], shown["cost_usd"]) == ({"ok": True}, "0.01")
        assert gateway.platform.jobs["p1"].call.body == b'{"x":1}'
        row = await gateway.row(job["id"])
        assert (row.outcome, row.cost_nano, row.user) == ("success", 10_000_000, "alice")
        usage = await client.get(f"/usage/{job['id']}")
        assert usage.status_code == 200


async def test_the_answer_to_a_call_that_prefers_not_to_wait_is_a_job(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
        accepted = await client.post(
            "/v1/chat/completions", json=body, headers={"Prefer": "respond-async"}
        )
        job = await gateway.until_ended(accepted.headers["location"].rpartition("/")[2])

        assert accepted.status_code == 202
        assert accepted.headers["preference-applied"] == "respond-async"
        assert (job.state, job.task, job.model) == ("succeeded", "chat", "chat")
        assert gateway.fake("home").calls[0].task == "chat"


async def test_who_waits_is_answered_by_the_call_itself_where_it_is_quick(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        quick = await client.post("/v1/infer/any", json={}, headers={"Prefer": "wait=20"})
        assert (quick.status_code, quick.json()) == (200, {"ok": True})
        assert quick.headers["content-location"].startswith("/v1/jobs/job_")


async def test_a_failure_is_told_as_a_call_is_told_it(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(BackendError(FailureClass.INVALID, "`x` must be a text."))
        job = await gateway.post(client)
        await gateway.until_ended(job["id"])
        shown = (await client.get(f"/v1/jobs/{job['id']}")).json()
        assert shown["state"] == "failed"
        assert shown["error"]["message"] == "`x` must be a text."
        assert (await gateway.row(job["id"])).outcome == "error"


async def test_what_a_job_may_cost_is_held_while_it_waits_and_given_back(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock)
    platform.full = True
    async with (
        with_jobs(tmp_path, clock, platform) as gateway,
        gateway.client(gateway.key(plan="small")) as client,
    ):
        asked = [
            asyncio.ensure_future(client.post("/v1/jobs", json={"model": "far", "input": {}}))
            for _ in range(9)
        ]
        await gateway.until_done(asked, 1.0)  # some wait for room before they are refused
        answers = sorted([task.result() for task in asked], key=lambda one: one.status_code)
        taken = [answer.json()["id"] for answer in answers if answer.status_code == 202]
        assert 0 < len(taken) < 9
        assert answers[-1].status_code == 402
        for id in taken:
            await client.post(f"/v1/jobs/{id}/cancel")
            await gateway.until_ended(id)
        again = await client.post("/v1/jobs", json={"model": "far", "input": {}})
        assert again.status_code == 202
        assert (await gateway.row(taken[0])).cost_nano == 0


async def test_jobs_wait_for_each_other_where_a_plan_allows_one_at_a_time(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with (
        with_jobs(tmp_path, clock, FakePlatform(clock, runs_for=2.0)) as gateway,
        gateway.client(gateway.key(plan="single")) as client,
    ):
        ids = [(await gateway.post(client, "far"))["id"] for _ in range(2)]
        jobs = [await gateway.until_ended(id) for id in ids]
        starts = sorted(job.started_at or 0.0 for job in jobs)
        ends = sorted(job.ended_at or 0.0 for job in jobs)
        assert [job.state for job in jobs] == ["succeeded", "succeeded"]
        assert starts[1] >= ends[0]


async def test_a_canceled_job_stops_the_platforms_meter_and_costs_what_it_used(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=3600.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")
        await gateway.until_state(job["id"], "running")
        await clock.advance(100.0)
        asked = await client.post(f"/v1/jobs/{job['id']}/cancel")
        ended = await gateway.until_ended(job["id"])

        stopped = platform.jobs["p1"]
        assert stopped.stopped_at is not None
        ran_s = stopped.stopped_at - stopped.submitted
        assert asked.status_code == 200
        assert ended.state == "canceled"
        assert ended.cost_nano == pytest.approx(ran_s * 1_000_000)
        assert (await gateway.row(job["id"])).outcome == "cancelled"


async def test_a_job_that_is_not_done_by_its_deadline_expires(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock)
    platform.full = True
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        waiting = await gateway.post(client, "far", deadline="60s")
        shown = (await client.get(f"/v1/jobs/{waiting['id']}")).json()
        assert await gateway.until_ended(waiting["id"], step=5.0)
        ended = (await client.get(f"/v1/jobs/{waiting['id']}")).json()
        assert shown["queue"]["position"] == 0
        assert (ended["state"], ended["error"]["code"]) == ("expired", "deadline_passed")
        assert (await gateway.row(waiting["id"])).cost_nano == 0


async def test_a_running_job_is_stopped_at_its_deadline(tmp_path: Path, clock: FakeClock) -> None:
    platform = FakePlatform(clock, runs_for=3600.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far", deadline="60s")
        await gateway.until_state(job["id"], "running", step=0.05)
        ended = await gateway.until_ended(job["id"], step=5.0)
        assert ended.state == "expired"
        assert platform.jobs["p1"].stopped_at is not None
        assert ended.cost_nano == pytest.approx(60_000_000, rel=0.1)


async def test_no_capacity_puts_a_job_off_and_is_told(tmp_path: Path, clock: FakeClock) -> None:
    platform = FakePlatform(clock)
    platform.full = True
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")

        async def told() -> bool:
            await clock.advance(0.1)
            return bool((await gateway.job(job["id"])).error)

        await until(told, "the job was put off", every_s=0.001)
        shown = (await client.get(f"/v1/jobs/{job['id']}")).json()
        assert shown["state"] == "queued"
        assert shown["queue"]["reason"]["message"] == "no capacity"
        platform.full = False
        assert (await gateway.until_ended(job["id"])).state == "succeeded"


async def test_a_platform_that_answers_no_question_for_long_still_has_the_job(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")
        await gateway.until_state(job["id"], "running")
        platform.down = True
        for _ in range(60):
            await clock.advance(10.0)
        platform.down = False
        assert (await gateway.until_ended(job["id"])).state == "succeeded"
        assert platform.submits == [job["id"]]


async def test_a_binary_answer_is_given_in_base64(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(
            Reply(body=b"\x89PNG", content_type="image/png", usage=Usage(exec_s=1.0))
        )
        job = await gateway.post(client)
        await gateway.until_ended(job["id"])
        shown = (await client.get(f"/v1/jobs/{job['id']}")).json()
        assert shown["output"] == {"content_type": "image/png", "base64": "iVBORw=="}


async def test_the_same_idempotency_key_gives_the_same_job(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        first = await gateway.post(client, idempotency_key="k1")
        again = await gateway.post(client, idempotency_key="k1")
        other = await client.post(
            "/v1/jobs", json={"model": "any", "input": {"x": 2}, "idempotency_key": "k1"}
        )
        await gateway.until_ended(first["id"])
        assert again["id"] == first["id"]
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
        assert len(gateway.fake("home").calls) == 1


async def test_a_key_sees_its_own_jobs_alone(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as alice:
        job = await gateway.post(alice)
        async with gateway.client(gateway.key("bob")) as bob:
            assert (await bob.get(f"/v1/jobs/{job['id']}")).status_code == 404
            assert (await bob.post(f"/v1/jobs/{job['id']}/cancel")).status_code == 404
            assert (await bob.get("/v1/jobs")).json()["data"] == []
        mine = (await alice.get("/v1/jobs?state=queued,starting,running,succeeded")).json()
        assert [one["id"] for one in mine["data"]] == [job["id"]]
        await gateway.until_ended(job["id"])


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"input": {}}, 400, "'model' is missing"),
        ({"model": "any"}, 400, "'input' is missing"),
        ({"model": "gone", "input": {}}, 404, "no model 'gone'"),
        ({"model": "any", "input": {}, "color": 1}, 400, "color"),
        ({"model": "any", "input": {}, "deadline": "soon"}, 400, "`deadline` is a span"),
        ({"model": "any", "input": {}, "deadline": "2020-01-01T00:00:00Z"}, 400, "has passed"),
        ({"model": "any", "input": {}, "ttl": "90d"}, 400, "`ttl` is a span of up to 30 days"),
        ({"model": "any", "input": {}, "priority": "now"}, 400, "priority"),
        ({"model": "any", "input": {}, "task": "chat"}, 400, "serves infer, not chat"),
        ({"model": "chat", "input": []}, 400, "`input` is the object"),
        ({"model": "chat", "input": {}}, 400, "'messages' is missing"),
        ({"model": "any", "input": {}, "tags": {"team": "x"}}, 400, "the policy takes none"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
async def test_what_is_wrong_with_a_job_is_said(
    tmp_path: Path, clock: FakeClock, body: dict[str, object], status: int, says: str
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post("/v1/jobs", json=body)
        assert (answer.status_code, says in answer.text) == (status, True), answer.text


async def test_an_unknown_filter_is_said(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        wrong = await client.get("/v1/jobs?state=done")
        assert wrong.status_code == 400
        assert "'done'" in wrong.text
        assert "succeeded" in wrong.text
