"""OpenAI's own client, unchanged, over TLS: its calls work, and refusals are its own errors."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
import torch

from tests.live import LiveGateway

CONFIG = """
backends:
  home: {kind: local, app: examples/embeddings.py:app, required: true, price: here}
  writer: {kind: local, app: examples/textgen.py:app, required: true, price: tokens}
models:
  minilm: {task: embeddings, backends: [home]}
  tiny-chat: {task: chat, backends: [writer]}
  tiny-text: {task: completions, backends: [writer]}
prices:
  here: {per_hour: 3.6, as_of: 2026-11-01, source: test}
  tokens: {per_million_input: 2, per_million_output: 5, as_of: 2026-11-01, source: test}
"""
TEXTS = ["A spill gate lets the flood over.", "naïve café, 東京"]
HELLO: list[Any] = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with LiveGateway(tmp_path_factory.mktemp("openai"), CONFIG, tls=True) as live:
        yield live


@contextlib.asynccontextmanager
async def client_of(
    gateway: LiveGateway, key: str | None = None, at: str = "/v1"
) -> AsyncIterator[openai.AsyncOpenAI]:
    trust = ssl.create_default_context(cafile=str(gateway.ca))
    async with openai.AsyncOpenAI(
        base_url=gateway.url + at,
        api_key=gateway.user_key if key is None else key,
        http_client=httpx.AsyncClient(verify=trust, trust_env=False),
        max_retries=0,
        timeout=30.0,
    ) as client:
        yield client


def reference(texts: list[str]) -> torch.Tensor:
    """The same weights by transformers' own BertModel, one text at a time."""
    from transformers import AutoTokenizer, BertModel

    from examples.embeddings import _folder

    bert = BertModel.from_pretrained(str(_folder())).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(_folder()))
    rows = []
    for text in texts:
        with torch.inference_mode():
            hidden = bert(**tokenizer(text, return_tensors="pt")).last_hidden_state
        rows.append(torch.nn.functional.normalize(hidden[0].mean(0), dim=0))
    return torch.stack(rows)


async def test_embeddings_are_those_of_the_reference_implementation(gateway: LiveGateway) -> None:
    """In the base64 that the client asks for by itself, and as plain numbers."""
    async with client_of(gateway) as client:
        packed = await client.embeddings.create(model="minilm", input=TEXTS)
        plain = await client.embeddings.create(model="minilm", input=TEXTS, encoding_format="float")
    wanted = reference(TEXTS)
    for got in (packed, plain):
        vectors = torch.tensor([item.embedding for item in got.data])
        assert torch.allclose(vectors, wanted, atol=1e-4)
        assert got.usage.prompt_tokens > len(TEXTS)


async def test_a_chat_answer_has_text_usage_and_a_cost_that_its_tokens_explain(
    gateway: LiveGateway,
) -> None:
    async with client_of(gateway) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="tiny-chat", messages=HELLO, max_tokens=8, seed=7
        )
        answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.usage is not None
    cost = price_of(answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert float(raw.headers["x-spillgate-cost"]) == pytest.approx(cost)


async def test_a_chat_stream_carries_the_same_text_then_usage_with_its_cost(
    gateway: LiveGateway,
) -> None:
    async with client_of(gateway) as client:
        whole = await client.chat.completions.create(
            model="tiny-chat", messages=HELLO, max_tokens=8, seed=7
        )
        stream = await client.chat.completions.create(
            model="tiny-chat",
            messages=HELLO,
            max_tokens=8,
            seed=7,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    usage = chunks[-1].usage
    assert usage is not None
    assert whole.usage is not None
    assert usage.total_tokens == whole.usage.total_tokens
    cost = price_of(usage.prompt_tokens, usage.completion_tokens)
    assert usage.model_dump()["cost"] == pytest.approx(cost)


def price_of(inputs: int, outputs: int) -> float:
    return inputs * 2e-6 + outputs * 5e-6


async def test_completions_and_the_list_of_models_work(gateway: LiveGateway) -> None:
    async with client_of(gateway) as client:
        answer = await client.completions.create(
            model="tiny-text", prompt="Once upon a time", max_tokens=4
        )
        assert answer.choices[0].text
        names = {model.id async for model in client.models.list()}
        one = await client.models.retrieve("minilm")
    assert names == {"minilm", "tiny-chat", "tiny-text"}
    assert one.id == "minilm"


async def test_each_refusal_is_the_clients_own_error_class_with_a_code(
    gateway: LiveGateway,
) -> None:
    async with client_of(gateway) as client:
        with pytest.raises(openai.BadRequestError) as bad:
            await client.embeddings.create(model="minilm", input="")
        assert (bad.value.code, bad.value.param) == ("missing_field", "input")
        with pytest.raises(openai.BadRequestError) as refused:
            await client.embeddings.create(model="minilm", input="x", dimensions=7)
        assert "384" in refused.value.message
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.embeddings.create(model="no-such-model", input="x")
        assert unknown.value.code == "model_not_found"
    async with client_of(gateway, "sg-nobody") as stranger:
        with pytest.raises(openai.AuthenticationError) as stranger_error:
            await stranger.models.list()
        assert stranger_error.value.code == "invalid_api_key"
    async with client_of(gateway, at="/admin") as user:
        with pytest.raises(openai.PermissionDeniedError) as denied:
            await user.get("/keys", cast_to=object)
        assert denied.value.code == "admin_required"


async def test_a_limit_is_a_rate_limit_error_that_says_when_to_come_back(
    gateway: LiveGateway,
) -> None:
    key = gateway.create_key("bob", "--limit", "requests=1/hour")
    async with client_of(gateway, key) as client:
        await client.embeddings.create(model="minilm", input="x")
        with pytest.raises(openai.RateLimitError) as limited:
            await client.embeddings.create(model="minilm", input="x")
    assert limited.value.code == "rate_limit_exceeded"
    assert int(limited.value.response.headers["retry-after"]) > 3000
    assert "r=0" in limited.value.response.headers["ratelimit"]
