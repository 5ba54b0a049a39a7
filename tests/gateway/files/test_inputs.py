"""An input with its files is no larger than any other may be, and held for as what it then is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock
from tests.gateway.batches.gateways import with_batches
from tests.gateway.jobs.gateways import POLICY

TEXT = POLICY.replace("access_log: false", "access_log: false, max_body: 60000").replace(
    "default: {requests", "default: {tokens: 30000/day, requests"
)
DEPTH = 600


def nested(inner: str) -> bytes:
    return b'{"a":' + b"[" * DEPTH + inner.encode() + b"]" * DEPTH + b"}"


async def test_a_file_counts_as_often_as_an_input_names_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        id = await gateway.upload(client, b"x" * 12_000)
        refused = await client.post("/v1/infer/any", json={"a": [{"$file": id}] * 5})
        job = await gateway.post(client, input={"a": [{"$file": id}] * 5})
        await gateway.until_ended(job["id"])
        ended = (await client.get(f"/v1/jobs/{job['id']}")).json()
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (
            413,
            "body_too_large",
            "$file",
        )
        assert (ended["state"], ended["error"]["code"]) == ("failed", "body_too_large")
        assert gateway.fake("home").calls == []
        fits = await client.post("/v1/infer/any", json={"a": [{"$file": id}]})
        assert fits.status_code == 200


async def test_an_input_too_deep_for_its_files_is_refused_and_its_job_ends(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        id = await gateway.upload(client, b"abc")
        body = nested(json.dumps({"$file": id}))
        headers = {"content-type": "application/json"}
        answer = await client.post("/v1/infer/any", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
        posted = await client.post(
            "/v1/jobs", content=b'{"model":"any","input":' + body + b"}", headers=headers
        )
        job = posted.json()
        await gateway.until_ended(job["id"])
        ended = (await client.get(f"/v1/jobs/{job['id']}")).json()
        assert (ended["state"], ended["error"]["code"]) == ("failed", "invalid_json")


CONTENTS: list[Any] = [
    pytest.param(lambda file: file, 429, id="as text"),
    pytest.param(lambda file: [{"type": "text", "text": file}], 429, id="as a text part"),
    pytest.param(
        lambda file: [{"type": "image_url", "image_url": {"url": file}}], 200, id="as a picture"
    ),
]


@pytest.mark.parametrize(("content", "status"), CONTENTS)
async def test_a_file_that_stands_for_text_is_held_for_as_text(
    content: Any, status: int, tmp_path: Path, clock: FakeClock
) -> None:
    """40,000 bytes are more than the caller's 30,000 tokens of a day."""
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        id = await gateway.upload(client, b"x" * 30_000)
        messages = [{"role": "user", "content": content({"$file": id})}]
        asked = {"model": "chat", "messages": messages, "max_tokens": 10}
        answer = await client.post("/v1/chat/completions", json=asked)
        assert answer.status_code == status, answer.text


async def test_a_client_token_reads_no_files_of_its_user(tmp_path: Path, clock: FakeClock) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        body = {"a": [{"$file": await gateway.upload(client, b"abc")}]}
        lent = (await client.post("/v1/tokens", json={"spend": "1 USD"})).json()
        async with gateway.client(lent["token"]) as page:
            refused = await page.post("/v1/infer/any", json=body)
            assert (refused.status_code, refused.json()["error"]["param"]) == (403, "$file")
            assert gateway.fake("home").calls == []
            assert (await page.post("/v1/infer/any", json={})).status_code == 200
        assert (await client.post("/v1/infer/any", json=body)).status_code == 200
