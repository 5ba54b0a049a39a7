"""Anthropic's and OpenAI's typed words through a gateway, before llama.cpp's own server, which
knows both: passed through they are what it says itself, and written anew they say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from tests.adapters.openai.test_llamacpp import llamacpp
from tests.adapters.openai.tiny_llama import write_tiny_llama
from tests.live import LiveGateway

CONFIG = """
backends:
  knows:
    kind: openai
    base_url: "{url}"
    native: [messages, responses]
    price: own
    required: true
  chats: {{kind: openai, base_url: "{url}", price: own, required: true}}
models:
  native: {{task: chat, backends: [knows]}}
  spoken: {{task: chat, backends: [chats]}}
  claude-sonnet-5: {{alias: spoken}}
prices:
  own: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
"""
MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]
ASKED: dict[str, dict[str, Any]] = {
    "/v1/messages": {"max_tokens": 8, "messages": MESSAGES, "temperature": 0},
    "/v1/responses": {"max_output_tokens": 8, "input": "hi", "temperature": 0},
    "/v1/chat/completions": {"max_tokens": 8, "messages": MESSAGES, "temperature": 0},
}
_CHANGES = frozenset(
    ("id", "item_id", "created", "created_at", "completed_at", "timings", "usage", "model",
     "system_fingerprint")
)  # fmt: skip
"""What differs between two answers of the engine itself: names, times, and what a cache had."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = tmp_path_factory.mktemp("engine") / "tiny.gguf"
    write_tiny_llama(model)
    with llamacpp(model, "1") as url:
        yield url


@pytest.fixture(scope="module")
def gateway(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    with LiveGateway(folder, CONFIG.format(url=engine)) as live:
        yield live


def steady(value: Any) -> Any:
    """Without what changes from one answer to the next."""
    if isinstance(value, dict):
        return {name: steady(one) for name, one in value.items() if name not in _CHANGES}
    return [steady(one) for one in value] if isinstance(value, list) else value


def events_of(text: str) -> list[Any]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [steady(json.loads(line)) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("path", ASKED)
def test_what_is_passed_through_is_the_engines_own_field_by_field(
    path: str, engine: str, gateway: LiveGateway
) -> None:
    asked = {"model": "native", **ASKED[path]}
    with httpx.Client(base_url=engine, trust_env=False, timeout=60) as direct:
        own = direct.post(path, json=asked)
        streamed = direct.post(path, json={**asked, "stream": True})
    with gateway.client() as client:
        through = client.post(path, json=asked)
        stream = client.post(path, json={**asked, "stream": True})
    assert steady(through.json()) == steady(own.json())
    given, known = events_of(stream.text), events_of(streamed.text)
    assert given == [event for event in known if event.get("choices") != []]
    assert len(given) > 3


def test_what_is_written_anew_says_what_the_engine_says_in_its_own_words(
    gateway: LiveGateway,
) -> None:
    with gateway.client() as client:
        for path in ("/v1/messages", "/v1/responses"):
            both = [
                client.post(path, json={"model": model, **ASKED[path]}).json()
                for model in ("native", "spoken")
            ]
            texts = [one.get("content") or one["output"][0]["content"] for one in both]
            assert texts[0][0]["text"] == texts[1][0]["text"]
            assert both[0].get("stop_reason") == both[1].get("stop_reason")
            assert both[0]["usage"]["output_tokens"] == both[1]["usage"]["output_tokens"]


@pytest.mark.parametrize("model", ["native", "spoken", "claude-sonnet-5"])
def test_anthropics_client_is_answered_whole_and_streamed(model: str, gateway: LiveGateway) -> None:
    asked: dict[str, Any] = {"model": model, "max_tokens": 6, "messages": MESSAGES}
    asked["extra_body"] = {"temperature": 0}
    with anthropic.Anthropic(
        base_url=gateway.url,
        api_key=gateway.user_key,
        http_client=httpx2.Client(trust_env=False),
    ) as client:
        answer = client.messages.create(**asked)
        assert answer.usage.output_tokens == 6
        assert answer.stop_reason == "max_tokens"
        with client.messages.stream(**asked) as stream:
            final = stream.get_final_message()
        assert final.stop_reason == "max_tokens"
        assert final.usage.output_tokens == 6
        if model == "claude-sonnet-5":
            assert (answer.model, final.model) == (model, model)
        counted = client.messages.count_tokens(model=model, messages=MESSAGES)
        assert counted.input_tokens > 0


@pytest.mark.parametrize("model", ["native", "spoken"])
def test_openais_client_is_answered_whole_and_streamed(model: str, gateway: LiveGateway) -> None:
    with openai.OpenAI(
        base_url=gateway.url + "/v1",
        api_key=gateway.user_key,
        http_client=httpx2.Client(trust_env=False),
    ) as client:
        answer = client.responses.create(model=model, input="hi", max_output_tokens=6)
        assert answer.usage is not None
        assert 0 < answer.usage.output_tokens <= 6
        stream = client.responses.create(model=model, input="hi", stream=True, max_output_tokens=6)
        kinds = [event.type for event in stream]
    assert kinds[0] == "response.created"
    assert kinds[-1] in ("response.completed", "response.incomplete")


def test_rows_say_what_was_asked_and_what_it_used(gateway: LiveGateway) -> None:
    with gateway.client() as client:
        asked = {"model": "native", **ASKED["/v1/messages"]}
        for stream in (False, True):
            answer = client.post("/v1/messages", json={**asked, "stream": stream})
            row = client.get(f"/usage/{answer.headers['x-request-id']}").json()
            assert (row["task"], row["outcome"], row["output_tokens"]) == ("messages", "success", 8)
            assert row["input_tokens"] > 8
