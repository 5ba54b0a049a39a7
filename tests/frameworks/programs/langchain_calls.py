"""LangChain asks: python langchain_calls.py BASE_URL KEY"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import BadRequestError, NotFoundError

BASE_URL, KEY = sys.argv[1:]


def level(lake: str) -> str:
    """How high a lake is."""
    return f"{lake}: 3 m"


LEVEL: Any = tool(level)


def chat(name: str = "chat") -> ChatOpenAI:
    return ChatOpenAI(model=name, base_url=BASE_URL, api_key=KEY, max_retries=0, stream_usage=True)


def told(name: str, holds: bool) -> None:
    print(f"{name} {'ok' if holds else 'WRONG'}", flush=True)


def raises(name: str, kind: type[Exception], model: str, words: str) -> None:
    try:
        chat(model).invoke(words)
    except kind:
        told(name, True)
    else:
        told(name, False)


def with_tools() -> str:
    bound = chat().bind_tools([LEVEL])
    messages: list[Any] = [("user", "how high is it?")]
    answer = bound.invoke(messages)
    [call] = answer.tool_calls
    messages += [answer, ToolMessage(LEVEL.invoke(call["args"]), tool_call_id=call["id"])]
    return str(bound.invoke(messages).content)


def streamed() -> tuple[str, int]:
    whole: Any = None
    for chunk in chat().stream("say it"):
        whole = chunk if whole is None else whole + chunk
    return whole.content, whole.usage_metadata["output_tokens"]


async def left() -> str:
    async for chunk in chat().astream("endless"):
        if chunk.content == "on ":
            return "left"
    return "ended"


answer = chat().invoke("say it")
told("whole", answer.content == "the gate is open" and answer.usage_metadata["input_tokens"] == 10)
told("streamed", streamed() == ("the gate is open", 4))
told("tools", with_tools() == "the gate is open")
raises("refused", BadRequestError, "chat", "fail")
raises("unknown", NotFoundError, "no-such-model", "hi")
told("left", asyncio.run(left()) == "left")
