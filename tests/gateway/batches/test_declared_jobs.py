"""A model on a route that the policy names takes jobs as any other: their input is the body of that
route."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from adapters.types import Capabilities, Reply, Task
from gateway.clock import FakeClock
from gateway.policy.reader import PolicyError
from tests.gateway.assembled import read
from tests.gateway.jobs.gateways import POLICY, with_jobs

TEXT = POLICY.replace(
    "\nprices:",
    "\n  ocr: {task: other, path: /v1/ocr, backends: [home]}\n"
    "  stock: {task: other, path: /v1/stock, method: GET, backends: [home]}\nprices:",
)


@pytest.mark.parametrize(
    ("model", "given", "sent"),
    [
        ("ocr", {"model": "theirs", "url": "https://x.example/a.png"}, ("POST", "/v1/ocr")),
        ("ocr", {}, ("POST", "/v1/ocr")),
        ("stock", {}, ("GET", "/v1/stock")),
    ],
)
async def test_a_job_asks_the_route_that_the_policy_names(
    model: str, given: dict[str, Any], sent: tuple[str, str], tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        home = gateway.fake("home")
        home.capabilities = Capabilities(tasks=frozenset(get_args(Task)))
        home.tell(Reply(body=b'{"text": "seen"}'))
        accepted = await gateway.post(client, model, input=given)
        await gateway.until_ended(accepted["id"])
        shown = (await client.get(f"/v1/jobs/{accepted['id']}")).json()
        [call] = home.calls

        assert (shown["state"], shown["output"]) == ("succeeded", {"text": "seen"})
        assert (call.task, call.declared) == ("other", sent)
        assert (call.body == b"") is (sent[0] == "GET")


async def test_a_route_without_a_body_takes_an_empty_input(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        answer = await client.post("/v1/jobs", json={"model": "stock", "input": {"x": 1}})

        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "input"
        assert "GET /v1/stock" in answer.json()["error"]["message"]


def test_a_schedule_may_ask_such_a_route() -> None:
    job = "{model: ocr, input: {model: theirs, stream: false}}"
    read(TEXT + f"schedules: {{nightly: {{cron: '0 3 * * *', user: alice, job: {job}}}}}\n")


def test_a_schedule_asks_no_model_that_answers_on_a_connection() -> None:
    text = TEXT.replace("\nprices:", "\n  talk: {task: realtime, backends: [home]}\nprices:")
    job = "{model: talk, input: {}}"
    with pytest.raises(PolicyError, match="on a connection alone"):
        read(text + f"schedules: {{nightly: {{cron: '0 3 * * *', user: alice, job: {job}}}}}\n")
