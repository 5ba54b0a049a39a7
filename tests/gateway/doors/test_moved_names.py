"""Callers of other platforms' protocols who give their model another name than its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock
from gateway.policies.changes import By
from tests.gateway.assembled import read
from tests.gateway.jobs.gateways import POLICY, with_jobs

TEXT = POLICY.replace(
    "models:\n",
    """models:
  do:1: {task: infer, backends: [home]}
  do:2: {task: infer, backends: [home]}
  do: {alias: "do:1"}
""",
)
MOVED = TEXT.replace('{alias: "do:1"}', '{alias: "do:2"}')
ASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "banana": ("/banana/do", {"x": 1}),
    "runpod": ("/runpod/v2/do/run", {"input": {"x": 1}}),
    "replicate": ("/replicate/v1/models/spillgate/do/predictions", {"input": {"x": 1}}),
    "replicate_version": ("/replicate/v1/predictions", {"version": "do", "input": {"x": 1}}),
}


async def test_a_call_of_banana_stays_the_same_when_its_name_is_moved(
    tmp_path: Path, clock: FakeClock
) -> None:
    headers = {"X-BANANA-REQUEST-ID": "one"}
    async with with_jobs(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        first = await client.post("/banana/do", json={"x": 1}, headers=headers)
        await gateway.inner.policies.apply(read(MOVED), By("key:root"))
        again = await client.post("/banana/do", json={"x": 1}, headers=headers)
        assert (first.status_code, again.status_code) == (200, 200)
        assert [call.model for call in gateway.fake("home").calls] == ["do:1"]


@pytest.mark.parametrize("platform", ASKS)
async def test_a_key_that_is_bound_to_an_alias_calls_by_it(
    tmp_path: Path, clock: FakeClock, platform: str
) -> None:
    path, body = ASKS[platform]
    async with with_jobs(tmp_path, clock, text=TEXT) as gateway:
        async with gateway.client(gateway.key(models=["do"])) as client:
            answer = await client.post(path, json=body)
        assert answer.is_success, answer.text
