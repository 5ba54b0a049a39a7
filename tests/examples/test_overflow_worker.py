"""The spare worker's handler, around a model that is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from examples.embeddings import Embedded
from examples.overflow.worker import handler_for


class Ones:
    """Embeds every text as a vector of ones."""

    name = "ones"
    dimensions = 2

    def embed(self, texts: list[str]) -> Embedded:
        return Embedded(torch.ones(len(texts), 2), [1] * len(texts))


async def answer_to(job_input: dict[str, Any]) -> Any:
    return await handler_for(Ones())({"id": "j", "input": job_input})


async def test_the_openai_envelope_is_answered_in_openais_shape() -> None:
    asked = {"openai_route": "/v1/embeddings", "openai_input": {"input": ["a", "b"]}}
    answer = await answer_to(asked)
    assert [item["embedding"] for item in answer["data"]] == [[1.0, 1.0]] * 2
    assert answer["usage"]["prompt_tokens"] == 2


async def test_a_bare_input_is_an_embeddings_request() -> None:
    assert (await answer_to({"input": "a"}))["object"] == "list"


async def test_a_ping_costs_no_model() -> None:
    assert await answer_to({"spillgate_ping": True}) == {"pong": True}


@pytest.mark.parametrize(
    ("job_input", "code"),
    [
        ({"openai_route": "/v1/embeddings", "openai_input": {"input": 7}}, 400),
        ({"openai_route": "/v1/chat/completions", "openai_input": {}}, 501),
        ({"nothing": 1}, 400),
    ],
)
async def test_what_cannot_be_answered_is_refused_with_a_code(
    job_input: dict[str, Any], code: int
) -> None:
    error = json.loads((await answer_to(job_input))["error"])
    assert error["code"] == code
    assert error["message"]
