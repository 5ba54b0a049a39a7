"""A call that its caller has named is made once, however often it is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

from adapters.errors import BackendError, FailureClass
from adapters.types import Capabilities, Task
from gateway.clock import FakeClock
from tests.gateway.jobs.gateways import POLICY, with_jobs

KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}


async def test_the_same_call_is_made_once_and_answered_each_time(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").runs_for = 2.0
        asked = [
            asyncio.ensure_future(client.post("/v1/infer/any", json={}, headers=KEY))
            for _ in range(3)
        ]
        await gateway.until_done(asked, 0.5)
        later = await client.post("/v1/infer/any", json={}, headers=KEY)
        answers = [*(task.result() for task in asked), later]
        assert [(one.status_code, one.json()) for one in answers] == [(200, {"ok": True})] * 4
        assert len(gateway.fake("home").calls) == 1
        assert len({one.headers["content-location"] for one in answers}) == 1


async def test_the_answer_is_there_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway:
        key = gateway.key()
        async with gateway.client(key) as client:
            await client.post("/v1/infer/any", json={}, headers=KEY)
    async with with_jobs(tmp_path, clock) as gateway, gateway.client(key) as client:
        again = await client.post("/v1/infer/any", json={}, headers=KEY)
        assert (again.status_code, again.json()) == (200, {"ok": True})
        assert gateway.fake("home").calls == []


async def test_the_same_name_for_another_call_is_a_conflict(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        await client.post("/v1/infer/any", json={}, headers=KEY)
        other = await client.post("/v1/infer/any", json={"x": 2}, headers=KEY)
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")


async def test_another_key_of_the_gateway_has_names_of_its_own(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as alice:
        await alice.post("/v1/infer/any", json={}, headers=KEY)
        async with gateway.client(gateway.key("bob")) as bob:
            await bob.post("/v1/infer/any", json={}, headers=KEY)
        assert len(gateway.fake("home").calls) == 2


async def test_a_failure_is_answered_as_a_call_is(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(BackendError(FailureClass.INVALID, "`x` is missing.", param="x"))
        answers = [
            await client.post("/v1/infer/any", json={}, headers=KEY),
            await client.post("/v1/infer/any", json={}, headers=KEY),
        ]
        assert [one.status_code for one in answers] == [400, 400]
        assert answers[1].json()["error"]["param"] == "x"
        assert len(gateway.fake("home").calls) == 1


async def test_who_hangs_up_finds_the_answer_when_it_comes_back(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").runs_for = 5.0
        asking = asyncio.ensure_future(client.post("/v1/infer/any", json={}, headers=KEY))
        await gateway.until_asked("home")
        asking.cancel()
        await asyncio.wait([asking])
        again = asyncio.ensure_future(client.post("/v1/infer/any", json={}, headers=KEY))
        await gateway.until_done([again], 0.5)
        assert again.result().json() == {"ok": True}
        assert len(gateway.fake("home").calls) == 1


ALL_TASKS = Capabilities(tasks=frozenset(get_args(Task)))
OCR = POLICY.replace(
    "models:\n", "models:\n  ocr: {task: other, path: /v1/ocr, backends: [home]}\n"
)
PICTURE = b"\xff\xd8\x00 no text"


def form(picture: bytes = PICTURE) -> dict[str, Any]:
    return {"data": {"x": "1"}, "files": {"file": ("a.jpg", picture, "image/jpeg")}}


async def test_a_form_is_the_same_request_however_its_boundary_is_drawn(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        home = gateway.fake("home")
        home.capabilities = ALL_TASKS
        answers = [await client.post("/v1/infer/any", headers=KEY, **form()) for _ in range(2)]
        sent = {one.request.headers["content-type"] for one in answers}
        assert [(one.status_code, one.json()) for one in answers] == [(200, {"ok": True})] * 2
        other = await client.post("/v1/infer/any", headers=KEY, **form(b"another"))
        assert (other.status_code, len(sent)) == (409, 2)
        [call] = home.calls
        assert call.content_type in sent
        assert PICTURE in call.body


async def test_whatever_a_route_takes_becomes_a_job(tmp_path: Path, clock: FakeClock) -> None:
    """Its body and type reach the backend as they came; so they do when it is begun again."""
    async with with_jobs(tmp_path, clock, text=OCR) as gateway, gateway.client() as client:
        home = gateway.fake("home")
        home.capabilities = ALL_TASKS
        home.tell(BackendError(FailureClass.INVALID, "no"))
        headers = {"Prefer": "respond-async", "Content-Type": "image/jpeg"}
        accepted = await client.post("/v1/ocr?dpi=300", content=PICTURE, headers=headers)
        id = accepted.json()["id"]
        assert (accepted.status_code, accepted.headers["location"]) == (202, f"/v1/jobs/{id}")
        await gateway.until_ended(id)
        again = (await client.post(f"/v1/jobs/{id}/retry")).json()["id"]
        assert (await gateway.until_ended(again)).state == "succeeded"
        told = [(call.body, call.content_type, call.declared) for call in home.calls]
        assert told == [(PICTURE, "image/jpeg", ("POST", "/v1/ocr?dpi=300"))] * 2
        named = {"Idempotency-Key": "a", "Content-Type": "image/jpeg"}
        for query, status in (("dpi=1", 200), ("dpi=1", 200), ("dpi=2", 409)):
            answer = await client.post(f"/v1/ocr?{query}", content=PICTURE, headers=named)
            assert answer.status_code == status


async def test_a_message_that_becomes_a_job_keeps_what_it_asks_for_beside_its_body(
    tmp_path: Path, clock: FakeClock
) -> None:
    body = {"model": "chat", "max_tokens": 4, "messages": [{"role": "user", "content": "x"}]}
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        home = gateway.fake("home")
        home.capabilities = ALL_TASKS
        asked = {**KEY, "anthropic-beta": "a-2026"}
        await client.post("/v1/messages", json=body, headers=asked)
        other = await client.post("/v1/messages", json=body, headers=KEY)
        assert ([call.betas for call in home.calls], other.status_code) == (["a-2026"], 409)
