"""A call that its caller has named is the same one, also when the name that it gives its model
stands for another by then: an alias that was moved, or a split of versions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk
from gateway.clock import FakeClock
from gateway.jobs.accepting import AskedJob
from gateway.policies.changes import By
from gateway.preferences import NO_PREFERENCES
from gateway.types import Principal
from tests.gateway.assembled import read
from tests.gateway.jobs.gateways import POLICY, JobsGateway, with_jobs

DONE = b"data: [DONE]\n\n"
TEXT = POLICY.replace(
    "models:\n",
    """models:
  talk:1: {task: chat, backends: [home]}
  talk:2: {task: chat, backends: [home]}
  do:1: {task: infer, backends: [home]}
  do:2: {task: infer, backends: [home]}
  talk: NAME_OF_talk
  do: NAME_OF_do
""",
)
NAMES = {
    "alias": "{{alias: '{0}:{1}'}}",
    "split": "{{split: {{'{0}:{1}': 100, '{0}:{2}': 0}}}}",
}
MESSAGES = [{"role": "user", "content": "hi"}]
CHAT = {"model": "talk", "messages": MESSAGES}
ASYNC = {"Prefer": "respond-async"}
ASKS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "job": ("/v1/jobs", {"model": "do", "input": {"x": 1}}, {}),
    "chat_job": ("/v1/jobs", {"model": "talk", "input": {"messages": MESSAGES}}, {}),
    "async_chat": ("/v1/chat/completions", CHAT, ASYNC),
    "async_infer": ("/v1/infer/do", {"x": 1}, ASYNC),
    "whole_chat": ("/v1/chat/completions", CHAT, {}),
    "stream": ("/v1/chat/completions", {**CHAT, "stream": True}, {}),
}


def pointing(kind: str, first: int) -> str:
    """A policy in which both names stand for the one version or the other."""
    text = TEXT
    for name in ("talk", "do"):
        text = text.replace(f"NAME_OF_{name}", NAMES[kind].format(name, first, 3 - first))
    return text


async def ask(
    gateway: JobsGateway, client: httpx.AsyncClient, what: str, **more: object
) -> httpx.Response:
    path, body, headers = ASKS[what]
    named = {**headers, "Idempotency-Key": what}
    asking = asyncio.ensure_future(client.post(path, json={**body, **more}, headers=named))
    await gateway.until_done([asking], 0.25)
    return asking.result()


async def ask_all(gateway: JobsGateway, client: httpx.AsyncClient) -> dict[str, httpx.Response]:
    found = {}
    for what in ASKS:
        if what == "stream":
            gateway.fake("home").tell([Chunk(DONE, kind="done")])
        found[what] = await ask(gateway, client, what)
    return found


@pytest.mark.parametrize("kind", NAMES)
async def test_a_name_that_was_moved_leads_to_the_same_call(
    tmp_path: Path, clock: FakeClock, kind: str
) -> None:
    async with (
        with_jobs(tmp_path, clock, text=pointing(kind, 1)) as gateway,
        gateway.client() as client,
    ):
        first = await ask_all(gateway, client)
        await gateway.inner.policies.apply(read(pointing(kind, 2)), By("key:root"))
        again = await ask_all(gateway, client)

        assert all(one.is_success for one in first.values())
        assert {what: called(one) for what, one in again.items()} == {
            what: called(one) for what, one in first.items()
        }
        models = {call.model for call in gateway.fake("home").calls}
        assert models <= {"talk:1", "do:1"}


def called(answer: httpx.Response) -> object:
    """What tells the call of an answer from others, and that it was taken."""
    if answer.status_code == 202:
        return answer.json()["id"]
    return answer.status_code, answer.headers.get("content-location", answer.content)


async def test_another_name_of_the_same_version_is_another_request(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = pointing("alias", 1)
    async with with_jobs(tmp_path, clock, text=text) as gateway, gateway.client() as client:
        await ask_all(gateway, client)
        for what in ("chat_job", "async_chat", "stream"):
            other = await ask(gateway, client, what, model="talk:1")
            assert other.json()["error"]["code"] == "idempotency_key_reused"


async def test_a_job_that_is_kept_by_its_model_alone_is_found(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, text=pointing("split", 1)) as gateway:
        key = gateway.key()
        principal = gateway.inner.keys.find(key)
        assert isinstance(principal, Principal)
        kept = AskedJob(
            model="do:1",
            task="infer",
            body=b'{"x":1}',
            principal=principal,
            preferences=NO_PREFERENCES,
            idempotency_key="job",
        )
        id = await gateway.jobs.accept(kept)
        async with gateway.client(key) as client:
            assert (await ask(gateway, client, "job")).json()["id"] == id


@pytest.mark.parametrize("kind", NAMES)
async def test_a_key_that_is_bound_to_the_name_has_jobs_that_run_and_are_run_again(
    tmp_path: Path, clock: FakeClock, kind: str
) -> None:
    async with with_jobs(tmp_path, clock, text=pointing(kind, 1)) as gateway:
        home = gateway.fake("home")
        home.tell(BackendError(FailureClass.INVALID, "`x` is missing."))
        async with gateway.client(gateway.key(models=["do"])) as client:
            failed = (await ask(gateway, client, "job")).json()["id"]
            await gateway.until_ended(failed)
            assert [call.model for call in home.calls] == ["do:1"]
            await gateway.inner.policies.apply(read(pointing(kind, 2)), By("key:root"))
            again = (await client.post(f"/v1/jobs/{failed}/retry")).json()["id"]
            assert (await gateway.until_ended(again)).state == "succeeded"
        async with gateway.client(gateway.key(models=["talk"])) as client:
            other = await client.post(f"/v1/jobs/{failed}/retry")
            assert other.json()["error"]["code"] == "key_not_permitted"
        assert [call.model for call in home.calls] == ["do:1", "do:1"]
