"""What no job can be, and values that nobody sends in earnest, are refused by every door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock
from tests.gateway.jobs.gateways import POLICY, with_jobs

WIDE = POLICY.replace(
    "prices:",
    "  ocr: {task: other, path: /v1/ocr, backends: [home]}\n"
    "  draw: {task: images, backends: [home]}\nprices:",
)
MANY = "60" + "0" * 5000
DEEP = '{"input": ' + "[" * 900 + "1" + "]" * 900 + "}"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/jobs", {"model": "ocr", "input": {"x": 1}}),
        ("/runpod/v2/ocr/run", {"input": {"x": 1}}),
        ("/runpod/v2/ocr/run", {"input": {"openai_route": "/v1/ocr", "openai_input": {}}}),
        ("/runpod/v2/ocr/run", {"input": {"openai_input": {}}}),
        ("/runpod/v2/draw/run", {"input": {"openai_route": "/v1/x", "openai_input": {}}}),
        ("/replicate/v1/predictions", {"version": "ocr", "input": {"x": 1}}),
        ("/banana/ocr", {"x": 1}),
    ],
    ids=["jobs", "RunPod", "its route", "no route", "another route", "Replicate", "Banana"],
)
async def test_a_model_of_a_route_of_its_own_takes_no_jobs(
    path: str, body: dict[str, Any], tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, text=WIDE) as gateway, gateway.client() as client:
        answer = await client.post(path, json=body)
        assert answer.status_code in (400, 422), answer.text
        assert await gateway.spent() == 0


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/runpod/v2/any/runsync?wait={MANY}", {}),
        ("/runpod/v2/any/runsync?wait=1000000000", {}),
        ("/runpod/v2/any/runsync?wait=0000000001000", {}),
        ("/replicate/v1/models/spillgate/any/predictions", {"prefer": f"wait={MANY}"}),
        ("/replicate/v1/models/spillgate/any/predictions", {"prefer": "wait=0000000001x"}),
        ("/replicate/v1/models/spillgate/any/predictions", {"cancel-after": MANY}),
    ],
    ids=["thousands of digits", "too many", "zeros", "a header", "no number", "a span"],
)
async def test_a_number_without_end_is_refused(
    path: str, headers: dict[str, str], tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post(path, json={"input": {}}, headers=headers)
        assert answer.status_code in (400, 422), answer.text


@pytest.mark.parametrize(
    "path", ["/replicate/v1/models/spillgate/any/predictions", "/runpod/v2/chat/run"]
)
async def test_an_input_that_nests_without_end_is_no_fault_of_ours(
    path: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        assert (await client.post(path, content=DEEP)).status_code in (400, 422)
