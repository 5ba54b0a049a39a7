"""The description of the HTTP surface says what really answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.api.openapi import DOORS, document
from gateway.app import web
from gateway.clock import FakeClock
from tests.gateway.assembled import POLICY, assembled

PATHS: dict[str, dict[str, Any]] = document()["paths"]
OPERATIONS = [(path, method) for path, methods in PATHS.items() for method in methods]
GOOD: dict[str, Any] = {
    "/v1/chat/completions": {"model": "chat", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"model": "text", "prompt": "hi"},
    "/v1/embeddings": {"model": "vector", "input": "hi"},
    "/v1/infer/{model}": {"any": "JSON"},
    "/v1/route/explain": {"model": "chat"},
    "/admin/keys": {"user": "bob"},
    "/v1/tokens": {"spend": "1 USD"},
}
KNOWN = {
    "version": "0123456789ab",
    "backend": "home",
    "request_id": "req_none",
    "key_id": "key_none",
    "webhook": "ops",
    "job": "job_1",
    "file": "file_1",
    "batch": "batch_1",
    "token": "tok_1",
    "response": "resp_1",
}
MORE = """models:
  text: {task: completions, backends: [home]}
  vector: {task: embeddings, backends: [home]}
"""


def body(path: str) -> bytes | None:
    return POLICY.encode() if "policy" in path else None


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
async def test_every_operation_answers_as_it_is_described(
    path: str, method: str, tmp_path: Path, clock: FakeClock
) -> None:
    """To a good request, to none at all, to one without a key, and to a key without the right."""
    known = PATHS[path][method]["responses"]
    model = "any" if "infer" in path else "chat"
    async with assembled(tmp_path, clock, POLICY.replace("models:\n", MORE)) as gateway:
        target = path.format(model=model, **KNOWN)
        for key in (gateway.key("root", admin=True), gateway.key(), ""):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            transport = httpx.ASGITransport(app=web(gateway.inner))
            async with httpx.AsyncClient(transport=transport, base_url="http://g") as client:
                good = await client.request(
                    method, target, headers=headers, json=GOOD.get(path), content=body(path)
                )
                bad = await client.request(method, target, headers=headers, content=b"{")
            for answer in (good, bad):
                assert str(answer.status_code) in known
                if answer.is_error and path != "/readyz":
                    Draft202012Validator(ERROR).validate(answer.json())


ERROR = document()["components"]["schemas"]["Error"]


async def test_every_route_is_described(tmp_path: Path, clock: FakeClock) -> None:
    """Pages for people aside, and doors, which other platforms describe."""
    async with assembled(tmp_path, clock) as gateway:
        routes = {route.path.replace(":path}", "}") for route in web(gateway.inner).routes}
    elsewhere = {"/", "/docs", "/openapi.json", "/{path}"}
    elsewhere |= {route for route in routes if route.startswith((*DOORS, "/dashboard"))}
    assert routes - elsewhere == PATHS.keys()
    assert all(door in document()["info"]["description"] for door in DOORS)


def test_the_description_is_valid_openapi_with_ids_and_examples() -> None:
    """By the well-kept validator of the standard; no operation is left without an id, and every
    call's body has an example that its own schema takes."""
    whole = document()
    OpenAPIV31SpecValidator(whole).validate()
    operations = [of[method] for of in PATHS.values() for method in of]
    ids = [one["operationId"] for one in operations]
    assert len(set(ids)) == len(ids)
    bodies = [one["requestBody"]["content"] for one in operations if "requestBody" in one]
    for content in bodies:
        for told in content.values():
            if "example" in told:
                schema = told["schema"]
                Draft202012Validator({**schema, "components": whole["components"]}).validate(
                    told["example"]
                )
    assert any("example" in told for content in bodies for told in content.values())
