"""One model under several names, one route under several paths, one key in several headers."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from adapters.types import Chunk, Reply
from gateway.api.requests.paths import canonical
from gateway.api.routed_paths import Paths, RoutedPath
from gateway.clock import FakeClock
from gateway.policy.reader import PolicyError, read_policy_text
from tests.gateway.assembled import FAKES, POLICY, assembled

ALIASED = POLICY.replace("models:\n", "models:\n  gpt-4o: {alias: chat}\n  gpt-5: {alias: far}\n")
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = b'{"id":"a","model":"upstream-7b","choices":[{"message":{"content":"x"}}]}'
PIECE = b'data: {"model":"upstream-7b","choices":[{"delta":{"content":"a"}}]}\n\n'


# --- aliases -------------------------------------------------------------------------------------


async def test_an_answer_names_the_alias_and_a_header_says_what_answered(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, ALIASED) as gateway, gateway.client() as client:
        gateway.fake("home").tell(Reply(body=ANSWER))
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.json() == {**json.loads(ANSWER), "model": "gpt-4o"}
        assert answer.headers["x-spillgate-model"] == "chat"
        assert json.loads(gateway.fake("home").calls[0].body) == {**CHAT, "model": "chat"}
        row = (await client.get(f"/usage/{answer.headers['x-request-id']}")).json()
        assert row["model"] == "chat"


async def test_each_event_of_a_stream_names_the_alias(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, ALIASED) as gateway, gateway.client() as client:
        gateway.fake("home").tell([Chunk(PIECE + PIECE), Chunk(b"data: [DONE]\n\n", "done")])
        answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert answer.text.count('"model":"gpt-4o"') == 2
        assert "upstream" not in answer.text
        assert answer.text.endswith("[DONE]\n\n")


async def test_a_call_by_the_models_own_name_is_answered_as_the_backend_did(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, ALIASED) as gateway, gateway.client() as client:
        gateway.fake("home").tell(Reply(body=ANSWER))
        answer = await client.post("/v1/chat/completions", json={**CHAT, "model": "chat"})
        assert answer.content == ANSWER
        assert "x-spillgate-model" not in answer.headers


async def test_a_key_for_a_model_may_call_it_by_an_alias_and_a_key_for_an_alias_by_that_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, ALIASED) as gateway:
        async with gateway.client(gateway.key(models=["chat"])) as client:
            assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200
            listed = (await client.get("/v1/models")).json()["data"]
            assert [one["id"] for one in listed] == ["chat", "gpt-4o"]
            assert (await client.get("/v1/models/gpt-5")).status_code == 403
            refused = await client.post("/v1/chat/completions", json={**CHAT, "model": "gpt-5"})
            assert refused.status_code == 403
        async with gateway.client(gateway.key(models=["gpt-4o"])) as client:
            assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200
            by_name = await client.post("/v1/chat/completions", json={**CHAT, "model": "chat"})
            assert by_name.status_code == 403


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gpt-4o: {alias: gpt-5}", "models.gpt-4o.alias: no 'gpt-5' in models"),
        ("gpt-4o: {alias: lama}", "models.gpt-4o.alias: no 'lama' in models"),
        ("gpt-4o: {alias: chat, slo: 1s}", "models.gpt-4o.slo: unknown key"),
    ],
    ids=["of an alias", "of nothing", "with more keys"],
)
def test_an_alias_that_names_no_model_is_told_with_its_place(line: str, said: str) -> None:
    text = ALIASED.replace("gpt-4o: {alias: chat}", line)
    with pytest.raises(PolicyError) as refused:
        read_policy_text(text, {}, kinds=FAKES)
    assert said in str(refused.value)


# --- which models --------------------------------------------------------------------------------

BY_PLAN = """
routes:
  - {name: free, when: {plan: default, model: any}, use: [home, burst]}
  - {name: near, when: {plan: default}, use: [home]}
"""


async def test_a_model_without_a_route_is_not_listed_and_is_403_with_words(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY + BY_PLAN) as gateway, gateway.client() as client:
        listed = (await client.get("/v1/models")).json()["data"]
        assert [one["id"] for one in listed] == ["chat", "any"]
        assert (await client.get("/v1/me")).json()["models"] == ["chat", "any"]
        shown = await client.get("/v1/models/far")
        asked = await client.post("/v1/chat/completions", json={**CHAT, "model": "far"})
        for answer in (shown, asked):
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "no_route")
        assert "the route 'near'" in asked.json()["error"]["message"]
        assert asked.headers["x-should-retry"] == "false"
        assert await gateway.spent() == 0


@pytest.mark.parametrize(
    ("task", "where"),
    [
        ("embeddings", "at /v1/embeddings"),
        ("speech", "at /v1/audio/speech"),
        ("infer", "at /v1/infer/one"),
        ("realtime", "by a WebSocket at /v1/realtime?model=one"),
    ],
)
async def test_who_takes_another_path_than_the_models_is_told_that(
    task: str, where: str, tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("models:\n", f"models:\n  one: {{task: {task}, backends: [home]}}\n")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        asked = {"model": "one", "messages": [{"role": "user", "content": "hi"}]}
        error = (await client.post("/v1/chat/completions", json=asked)).json()["error"]
        assert error["code"] == "wrong_endpoint"
        assert error["message"].endswith(f"serves {task}, not chat: ask it {where}.")


@pytest.mark.parametrize(
    ("task", "streams", "most"),
    [
        ("images", False, None),
        ("embeddings", False, None),
        ("transcriptions", False, 4096),
        ("completions", True, 4096),
    ],
)
async def test_no_model_is_said_to_do_what_its_task_cannot(
    task: str, streams: bool, most: int | None, tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("models:\n", f"models:\n  one: {{task: {task}, backends: [home]}}\n")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        told = (await client.get("/v1/models/one")).json()["capabilities"]
        assert (told["streaming"], told["max_output_tokens"]) == (streams, most)


async def test_a_model_tells_what_it_can_do(tmp_path: Path, clock: FakeClock) -> None:
    text = ALIASED.replace("slots: 2,", "slots: 2, context: 8192,").replace(
        "idle_timeout: 60s", "idle_timeout: 60s\n    context: 4096"
    )
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        told = (await client.get("/v1/models/gpt-4o")).json()
        assert (told["id"], told["task"], told["alias_of"]) == ("gpt-4o", "chat", "chat")
        assert told["capabilities"] == {
            "streaming": True,
            "context_length": 8192,
            "max_output_tokens": 4096,
        }
        as_anthropic = await client.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
        assert as_anthropic.json()["data"][0]["type"] == "model"
        assert as_anthropic.json()["last_id"] == "gpt-5"


# --- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/models/", "/v1/models"),
        ("/usage/", "/usage"),
        ("/", "/"),
        ("/chatter", "/chatter"),
        ("/v1/jobs/a\0", "/v1/jobs/a\ufffd"),
    ],
)
def test_a_path_is_the_route_that_it_means(written: str, meant: str) -> None:
    assert canonical(written) == meant


async def test_a_route_answers_under_each_of_its_paths(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        for path in ("/chat/completions", "/v1/chat/completions/", "/chat/completions/"):
            answer = await client.post(path, json={**CHAT, "model": "chat"})
            assert answer.status_code == 200
        assert (await client.get("/models")).json()["object"] == "list"


async def test_a_key_bound_to_a_path_is_held_to_it_however_it_is_written(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        bound = gateway.key(paths=["/v1/embeddings"])
        async with gateway.client(bound) as client:
            answer = await client.post("/chat/completions/", json={**CHAT, "model": "chat"})
        assert answer.json()["error"]["code"] == "key_not_permitted"


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["x-api-key", "api-key"])
async def test_a_key_is_taken_from_the_headers_of_other_clients(
    header: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        key = client.headers.pop("authorization").removeprefix("Bearer ")
        answer = await client.get("/v1/models", headers={header: key})
        assert answer.status_code == 200
        unknown = await client.get("/v1/models", headers={header: "sg-nobody"})
        assert unknown.json()["error"]["code"] == "invalid_api_key"
        both = {"authorization": f"Bearer {key}", header: key}
        assert (await client.get("/v1/models", headers=both)).status_code == 200
        differ = await client.get("/v1/models", headers={**both, header: "sg-other"})
        assert (differ.status_code, differ.json()["error"]["code"]) == (400, "ambiguous_header")


# --- which endpoint a path leads to ---------------------------------------------------------------


class Named:
    """Tells of itself, and of what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await send({"name": self.name, "given": scope.get("path_params")})


PATHS = Paths(
    [
        RoutedPath("/usage/calls", Named("calls")),
        RoutedPath("/models/{model:path}/{part}", Named("part")),
        RoutedPath("/models/{model:path}", Named("model")),
        RoutedPath("/keys/{key}", Named("key")),
        RoutedPath("/keys/{key}/rotate", Named("rotate")),
        RoutedPath("/a.b/{x}", Named("dotted")),
        RoutedPath("/{path:path}", Named("all")),
    ]
)


@pytest.mark.parametrize(
    ("path", "name", "given"),
    [
        ("/models/org/small", "part", {"model": "org", "part": "small"}),
        ("/models/small", "model", {"model": "small"}),
        ("/models/", "model", {"model": ""}),
        ("/keys/k1", "key", {"key": "k1"}),
        ("/keys/k1/rotate", "rotate", {"key": "k1"}),
        ("/keys/", "all", {"path": "keys/"}),
        ("/keys/k1/rotate/", "all", {"path": "keys/k1/rotate/"}),
        ("/a.b/1", "dotted", {"x": "1"}),
        ("/aXb/1", "all", {"path": "aXb/1"}),
        ("/", "all", {"path": ""}),
        ("*", "all", None),
        ("/keys/a\nb", "key", {"key": "a\nb"}),
        ("/models/a\nb", "all", None),
    ],
)
async def test_the_first_route_that_fits_takes_a_path(
    path: str, name: str, given: dict[str, str] | None
) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await PATHS({"type": "http", "path": path}, None, send)  # type: ignore[arg-type]
    assert said == [{"name": name, "given": given}]


def test_a_path_without_parameters_is_looked_up() -> None:
    assert list(PATHS.exact) == ["/usage/calls"]
