"""All lines of a batch mean the models that its names stood for when it was accepted, also when an
alias or a split is moved while it runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.batches.records import read_batch_request
from gateway.clock import FakeClock
from gateway.policies.changes import By
from tests.gateway.assembled import read
from tests.gateway.batches.gateways import ENDED, BatchesGateway, input_of, with_batches
from tests.gateway.jobs.gateways import POLICY
from tests.waiting import until

LINES = 60
VERSIONS = "  {0}:1: {{task: {1}, backends: [home]}}\n  {0}:2: {{task: {1}, backends: [home]}}\n"
NAMES = {
    "alias": "  {0}: {{alias: '{0}:{1}'}}\n",
    "split": "  {0}: {{split: {{'{0}:{1}': 100, '{0}:{2}': 0}}}}\n",
}
CHAT = {"model": "talk", "messages": [{"role": "user", "content": "hi"}]}
BATCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "do": ("/v1/infer/do", {"x": 1}),
    "talk": ("/v1/chat/completions", CHAT),
}


def pointing(kind: str, name: str, first: int) -> str:
    """A policy in which the name stands for the one version or the other."""
    models = VERSIONS.format(name, "infer" if name == "do" else "chat")
    models += NAMES[kind].format(name, first, 3 - first)
    text = POLICY.replace("slots: 1, price", "slots: 4, concurrency: 4, price")
    return text.replace("models:\n", "models:\n" + models)


async def until_begun(gateway: BatchesGateway) -> None:
    async def begun() -> bool:
        await gateway.clock.advance(0.1)
        return len(gateway.fake("home").calls) > 4

    await until(begun, "some lines have begun", every_s=0.001)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("kind", NAMES)
async def test_lines_that_are_read_later_mean_the_model_of_the_first(
    tmp_path: Path, clock: FakeClock, kind: str, name: str
) -> None:
    endpoint, body = BATCHES[name]
    text = pointing(kind, name, 1)
    async with with_batches(tmp_path, clock, text=text) as gateway, gateway.client() as client:
        home = gateway.fake("home")
        home.runs_for = 0.5
        batch = await gateway.batch(client, input_of([body] * LINES, endpoint), endpoint)
        await until_begun(gateway)
        await gateway.inner.policies.apply(read(pointing(kind, name, 2)), By("key:root"))
        later = await gateway.batch(client, input_of([body], endpoint), endpoint)
        for one in (batch, later):
            await gateway.until_status(client, one["id"], *ENDED)
        counts = Counter(call.model for call in home.calls)
        assert counts == {f"{name}:1": LINES, f"{name}:2": 1}


async def test_another_gateway_goes_on_with_the_model_that_was_accepted(
    tmp_path: Path, clock: FakeClock
) -> None:
    endpoint, body = BATCHES["do"]
    async with with_batches(tmp_path, clock, text=pointing("split", "do", 1)) as gateway:
        key = gateway.key(models=["do"])
        gateway.fake("home").slots = 0
        async with gateway.client(key) as client:
            data = input_of([body] * LINES, endpoint)
            batch = await gateway.batch(client, data, endpoint)
    async with with_batches(tmp_path, clock, text=pointing("alias", "do", 2)) as gateway:
        async with gateway.client(key) as client:
            ended = await gateway.until_status(client, batch["id"], *ENDED)
        assert ended["request_counts"]["completed"] == LINES
        assert {call.model for call in gateway.fake("home").calls} == {"do:1"}


async def test_lines_whose_model_is_gone_are_told_which(tmp_path: Path, clock: FakeClock) -> None:
    endpoint, body = BATCHES["do"]
    text = pointing("alias", "do", 1)
    async with with_batches(tmp_path, clock, text=text) as gateway, gateway.client() as client:
        gateway.fake("home").runs_for = 0.5
        batch = await gateway.batch(client, input_of([body] * LINES, endpoint), endpoint)
        await until_begun(gateway)
        gone = pointing("alias", "do", 2).replace("  do:1: {task: infer, backends: [home]}\n", "")
        await gateway.inner.policies.apply(read(gone), By("key:root"))
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        errors = await gateway.lines(client, ended["error_file_id"])
        assert {call.model for call in gateway.fake("home").calls} == {"do:1"}
        assert errors[-1]["response"]["status_code"] == 404
        assert "'do:1'" in errors[-1]["response"]["body"]["error"]["message"]


def test_a_batch_of_which_no_names_were_written_down_is_read() -> None:
    kept = read_batch_request('{"principal":{"key_id":"key_alice","user":"alice"}}')
    assert kept.models == {}
