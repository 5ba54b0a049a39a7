"""Requests that hardly anybody sends have clear answers too."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import FakeClock
from tests.gateway.assembled import assembled

DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/infer/any", DEEP),
        ("/v1/chat/completions", b'{"model":"chat","messages":[{"a":' + DEEP + b"}]}"),
        ("/v1/route/explain", b'{"model":"chat","a":' + DEEP + b"}"),
    ],
)
async def test_a_body_that_nests_without_end_is_the_callers_fault(
    path: str, body: bytes, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post(path, content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


async def test_what_is_no_path_is_not_found(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.request("OPTIONS", "*")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/usage"])
async def test_what_can_be_read_can_be_asked_for_its_head(
    path: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Load balancers look at health so."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        assert (await client.head(path)).status_code == (await client.get(path)).status_code


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"max_tokens": "many"}, "Expected a whole number or null, got a string in 'max_tokens'."),
        ({"stream": 1}, "Expected true or false or null, got a whole number in 'stream'."),
        ({"messages": {}}, "Expected an array, got an object in 'messages'."),
    ],
    ids=["string", "number", "object"],
)
async def test_a_field_of_another_type_is_told_in_the_words_of_json(
    fields: dict[str, object], says: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        body = {"model": "chat", "messages": [], **fields}
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.json()["error"]["message"] == says
