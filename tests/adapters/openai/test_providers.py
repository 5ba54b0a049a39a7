"""A provider is asked where it is, with the key as it takes it."""

from __future__ import annotations

import msgspec
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.openai.backend import OpenAICompatible, OpenAISettings
from adapters.openai.providers import PROVIDERS, ProviderName
from adapters.settings import Secret, SettingError
from adapters.types import Call
from gateway.clock import FakeClock
from tests.adapters.servers import answer, scripted

HEADERS = {"x-api-key": "k", "anthropic-version": "2023-06-01", "anthropic-beta": "tools-1"}
CHOICE = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}


async def test_azure_is_asked_below_openai_with_its_key_and_its_version(clock: FakeClock) -> None:
    async with scripted(answer({"choices": [CHOICE]})) as (script, url):
        settings = OpenAISettings(
            provider="azure",
            base_url=f"{url}/openai/v1/",
            api_key=Secret("k"),
            api_version="preview",
        )
        backend = OpenAICompatible("azure", settings, clock)
        await backend.start()
        body = b'{"model": "gpt", "messages": []}'
        deadline = clock.monotonic() + 60
        await backend.invoke(Call(id="r", model="gpt", task="chat", body=body, deadline=deadline))
        await backend.aclose()
    [request] = script.requests
    assert request.target == "/openai/v1/chat/completions?api-version=preview"
    assert request.headers["api-key"] == "k"
    assert "authorization" not in request.headers
    assert "responses" in backend.capabilities.tasks


async def test_anthropic_is_asked_for_messages_as_they_came_and_for_nothing_else(
    clock: FakeClock,
) -> None:
    body = b'{"model": "claude", "max_tokens": 9, "odd": 1.50, "messages": []}'
    said = {"type": "message", "content": [], "usage": {"input_tokens": 3, "output_tokens": 2}}
    async with scripted(answer(said)) as (script, url):
        settings = OpenAISettings(provider="anthropic", base_url=url, api_key=Secret("k"))
        backend = OpenAICompatible("claude", settings, clock)
        await backend.start()
        call = Call(id="r", model="claude", task="messages", body=body, betas="tools-1")
        reply = await backend.invoke(msgspec.structs.replace(call, deadline=1e9))
        with pytest.raises(BackendError) as refused:
            await backend.invoke(Call(id="r", model="claude", task="chat", body=body))
        await backend.aclose()
    [request] = script.requests
    assert (request.target, request.body) == ("/v1/messages", body)
    told = {name: request.headers.get(name) for name in (*HEADERS, "authorization")}
    assert told == {**HEADERS, "authorization": None}
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 2)
    assert refused.value.failure is FailureClass.UNSUPPORTED
    assert backend.capabilities.tasks == {"messages", "count_tokens", "other"}


@pytest.mark.parametrize("provider", [name for name, one in PROVIDERS.items() if one.base_url])
def test_a_provider_is_where_it_is_and_elsewhere_where_that_is_said(
    provider: ProviderName,
) -> None:
    settings = OpenAISettings(provider=provider)
    assert settings.url == PROVIDERS[provider].base_url
    elsewhere = OpenAISettings(provider=provider, base_url="http://h/v1", v1=True)
    assert elsewhere.url == "http://h"


async def test_gemini_is_asked_right_below_its_address(clock: FakeClock) -> None:
    async with scripted(answer({"choices": [CHOICE]}), answer({}, 404), answer({})) as found:
        script, url = found
        settings = OpenAISettings(
            provider="gemini", base_url=f"{url}/v1beta/openai/", api_key=Secret("k")
        )
        backend = OpenAICompatible("gemini", settings, clock)
        await backend.start()
        await backend.invoke(Call(id="r", model="g", task="chat", body=b"{}", deadline=1e9))
        assert (await backend.probe()).ready
        await backend.aclose()
    assert script.targets() == [
        "POST /v1beta/openai/chat/completions",
        "GET /v1beta/openai/health",
        "GET /v1beta/openai/models",
    ]
    assert script.requests[0].headers["authorization"] == "Bearer k"


async def test_bedrock_is_up_where_it_answers_for_it_lists_no_models(clock: FakeClock) -> None:
    async with scripted(answer({}, 404), answer({"choices": [CHOICE]})) as (script, url):
        settings = OpenAISettings(
            provider="bedrock", base_url=f"{url}/openai/v1", api_key=Secret("k")
        )
        backend = OpenAICompatible("bedrock", settings, clock)
        await backend.start()
        assert (await backend.probe()).ready
        assert await backend.assumptions() == []
        await backend.invoke(Call(id="r", model="g", task="chat", body=b"{}", deadline=1e9))
        await backend.aclose()
    assert script.targets() == ["GET /openai/health", "POST /openai/v1/chat/completions"]


def test_an_address_is_needed_where_nobody_has_one_for_all() -> None:
    with pytest.raises(SettingError, match="one for each customer"):
        OpenAISettings(provider="azure")
    with pytest.raises(SettingError, match="no provider"):
        OpenAISettings()
