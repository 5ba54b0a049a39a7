"""Replicate's protocol: its shapes and states, over jobs that cost what every job costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Reply
from gateway.clock import FakeClock
from gateway.storage.jobs.base import JobsQuery
from tests.gateway.doors.raw import HangUp
from tests.gateway.doors.test_runpod import only_job
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.gateways import TELLS, with_jobs
from tests.gateway.jobs.platforms import FakePlatform
from tests.gateway.jobs.test_job_webhooks import until_told

AT = "/replicate/v1"
FAR = f"{AT}/models/spillgate/far/predictions"
HOOK = "https://app.example.com/hook"
CHAT = b'{"choices":[{"message":{"role":"assistant","content":"hello there"}}]}'


async def test_a_prediction_starts_is_processed_and_succeeds(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        created = await client.post(FAR, json={"input": {"x": 1}})
        prediction = created.json()
        await gateway.until_state(prediction["id"], "running")
        running = (await client.get(f"{AT}/predictions/{prediction['id']}")).json()
        await gateway.until_ended(prediction["id"])
        done = (await client.get(f"{AT}/predictions/{prediction['id']}")).json()

        assert (created.status_code, prediction["status"]) == (201, "starting")
        assert (running["status"], running["output"]) == ("processing", None)
        assert (done["status"], done["output"], done["input"]) == (
            "succeeded",
            {"ok": True},
            {"x": 1},
        )
        assert (done["model"], done["error"]) == ("spillgate/far", None)
        assert done["metrics"]["predict_time"] >= 9
        assert done["urls"]["get"] == f"http://gateway{AT}/predictions/{prediction['id']}"
        assert (await gateway.row(prediction["id"])).cost_nano == 10_000_000


async def test_a_create_that_waits_says_starting_until_the_end(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its client takes any other state for an end."""
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        path = f"{AT}/models/spillgate/any/predictions"
        quick = await client.post(path, json={"input": {}}, headers={"Prefer": "wait"})
        assert quick.json()["status"] == "succeeded"
        caller = HangUp(gateway.inner, FAR, gateway.key(), {"input": {}}, (b"prefer", b"wait=2"))
        while not caller.request.done():
            await clock.advance(0.5)
        assert (caller.status, json.loads(caller.body)["status"]) == (201, "starting")


async def test_a_version_names_a_model(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        shown = (await client.get(f"{AT}/models/spillgate/far")).json()
        id = shown["latest_version"]["id"]
        for version in (id, f"spillgate/far:{id}", "spillgate/far", "far", "cloud"):
            body: dict[str, object] = {"version": version, "input": {}}
            created = await client.post(f"{AT}/predictions", json=body)
            assert (await gateway.job(created.json()["id"])).model == "far", version
        versions = (await client.get(f"{AT}/models/spillgate/far/versions/{id}")).json()
        assert versions["openapi_schema"] == {}


async def test_a_prompt_is_asked_of_a_chat_model_and_answered_as_text(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(Reply(body=CHAT))
        given = {"prompt": "hi", "system_prompt": "Be brief.", "max_new_tokens": 9}
        created = await client.post(
            f"{AT}/models/spillgate/chat/predictions",
            json={"input": given},
            headers={"Prefer": "wait"},
        )
        prediction = created.json()
        assert (prediction["output"], prediction["input"]) == (["hello there"], given)
        [call] = gateway.fake("home").calls
        assert json.loads(call.body) == {
            "model": "chat",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "hi"},
            ],
            "max_tokens": 9,
        }


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("predictions", {"input": {}}, 422, "'version' is missing"),
        ("predictions", {"version": "abc", "input": {}}, 404, "no version 'abc'"),
        ("models/no/such/predictions", {"input": {}}, 404, "no/such"),
        ("models/spillgate/any/predictions", {}, 422, "'input' is missing"),
        ("models/spillgate/any/predictions", {"input": {}, "webhok": "x"}, 400, "webhok"),
        ("models/spillgate/any/predictions", {"input": {}, "webhook": HOOK}, 422, "webhooks.jobs"),
        (
            "models/spillgate/any/predictions",
            {"input": {}, "webhook": HOOK, "webhook_events_filter": ["start"]},
            422,
            "completed",
        ),
    ],
    ids=[
        "no version",
        "unknown version",
        "no model",
        "no input",
        "unknown field",
        "hook",
        "filter",
    ],
)
async def test_what_is_wrong_is_told_as_a_problem_and_holds_nothing(
    path: str, body: object, status: int, words: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post(f"{AT}/{path}", json=body)
        problem = answer.json()
        assert (answer.status_code, problem["status"]) == (status, status), answer.text
        assert words in problem["detail"]
        assert await gateway.jobs.store.find(JobsQuery()) == []


@pytest.mark.parametrize("span", ["4", "2d", "x", "1h30"])
async def test_a_span_that_is_none_is_refused(span: str, tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post(FAR, json={"input": {}}, headers={"Cancel-After": span})
        assert (answer.status_code, "Cancel-After" in answer.json()["detail"]) == (422, True)


async def test_a_prediction_that_is_not_done_in_time_fails(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=600.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        created = await client.post(FAR, json={"input": {}}, headers={"Cancel-After": "1m30s"})
        id = created.json()["id"]
        await gateway.until_ended(id)
        done = (await client.get(f"{AT}/predictions/{id}")).json()
        assert (done["status"], "deadline" in done["error"]) == ("failed", True)
        assert platform.jobs["p1"].stopped_at is not None


async def test_output_is_followed_to_its_end_and_resumed(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(Reply(body=b'["a\\nb", {"c": 1}]'))
        gateway.fake("home").tell(BackendError(FailureClass.INVALID, "no such voice"))
        path = f"{AT}/models/spillgate/any/predictions"
        headers = {"Prefer": "wait"}
        good, bad = [
            (await client.post(path, json={"input": {}}, headers=headers)).json() for _ in "ab"
        ]
        whole = (await client.get(good["urls"]["stream"])).text
        rest = (await client.get(good["urls"]["stream"], headers={"Last-Event-ID": "2"})).text
        failed = (await client.get(bad["urls"]["stream"])).text
        assert whole == (
            "id: 1\nevent: output\ndata: a\ndata: b\n\n"
            'id: 2\nevent: output\ndata: {"c":1}\n\n'
            "id: 3\nevent: done\ndata: {}\n\n"
        )
        assert whole.endswith(rest)
        assert rest.startswith("id: 3")
        assert "event: error" in failed
        assert "no such voice" in failed


async def test_a_list_is_ones_own_and_comes_in_pages(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        ids = [(await client.post(FAR, json={"input": {}})).json()["id"] for _ in range(27)]
        async with gateway.client(gateway.key("bob")) as bob:
            assert (await bob.get(f"{AT}/predictions")).json()["results"] == []
            assert (await bob.get(f"{AT}/predictions/{ids[0]}")).status_code == 404
            assert (await bob.post(f"{AT}/predictions/{ids[0]}/cancel")).status_code == 404
        first = (await client.get(f"{AT}/predictions")).json()
        second = (await client.get(first["next"])).json()
        listed = [one["id"] for one in first["results"] + second["results"]]
        assert (listed, second["next"]) == (ids[::-1], None)


async def test_the_webhook_is_told_the_prediction(tmp_path: Path, clock: FakeClock) -> None:
    sent = PlayedClient()
    async with (
        with_jobs(tmp_path, clock, text=TELLS, client=sent) as gateway,
        gateway.client() as client,
    ):
        asked = {"input": {}, "webhook": HOOK, "webhook_events_filter": ["start", "completed"]}
        id = (await client.post(FAR, json=asked)).json()["id"]
        await gateway.until_ended(id)
        await until_told(gateway, sent)
        shown = (await client.get(f"{AT}/predictions/{id}")).json()
        [message] = sent.sent
        assert (message.url, json.loads(message.body)) == (HOOK, shown)


async def test_a_caller_who_hangs_up_leaves_a_prediction_that_the_list_has(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        caller = HangUp(gateway.inner, FAR, gateway.key(), {"input": {}}, (b"prefer", b"wait"))
        id = await only_job(gateway)
        caller.leave()
        await caller.request
        assert (await gateway.until_ended(id)).state == "succeeded"
        [found] = (await client.get(f"{AT}/predictions")).json()["results"]
        assert found["output"] == {"ok": True}
