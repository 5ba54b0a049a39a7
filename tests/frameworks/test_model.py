"""The model behind the frameworks answers as its last message says."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.frameworks.model import model

TOOLS: list[Any] = [{"type": "function", "function": {"name": "level", "parameters": {}}}]


def test_it_writes_calls_tools_streams_and_refuses() -> None:
    with model() as url, openai.OpenAI(api_key="k", base_url=url, max_retries=0) as client:

        def asked(words: str, **more: Any) -> Any:
            messages: Any = [{"role": "user", "content": words}]
            return client.chat.completions.create(model="chat", messages=messages, **more)

        assert asked("hi").choices[0].message.content == "the gate is open"
        [call] = asked("hi", tools=TOOLS).choices[0].message.tool_calls
        assert call.function.name == "level"
        pieces = [chunk.choices for chunk in asked("hi", stream=True)]
        said = "".join(one[0].delta.content or "" for one in pieces if one)
        assert said == "the gate is open"
        with asked("endless", stream=True) as stream:
            assert next(iter(stream)).choices[0].delta.content == "the "
        with pytest.raises(openai.BadRequestError, match="the model says no"):
            asked("fail")
