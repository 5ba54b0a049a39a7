"""LlamaIndex asks: python llama_index_calls.py BASE_URL KEY"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from openai import BadRequestError, NotFoundError

BASE_URL, KEY = sys.argv[1:]


def level(lake: str) -> str:
    """How high a lake is."""
    return f"{lake}: 3 m"


def chat(name: str = "chat") -> OpenAILike:
    return OpenAILike(
        model=name,
        api_base=BASE_URL,
        api_key=KEY,
        max_retries=0,
        is_chat_model=True,
        is_function_calling_model=True,
    )


def told(name: str, holds: bool) -> None:
    print(f"{name} {'ok' if holds else 'WRONG'}", flush=True)


def said(words: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=words)]


def raises(name: str, kind: type[Exception], model: str, words: str) -> None:
    try:
        chat(model).chat(said(words))
    except kind:
        told(name, True)
    else:
        told(name, False)


def with_tools() -> str:
    found = FunctionTool.from_defaults(level)
    answer: Any = chat().predict_and_call([found], user_msg="how high is it?")
    return str(answer)


async def left() -> str:
    async for chunk in await chat().astream_chat(said("endless")):
        if chunk.delta == "on ":
            return "left"
    return "ended"


told("whole", chat().chat(said("say it")).message.content == "the gate is open")
streamed = "".join(chunk.delta or "" for chunk in chat().stream_chat(said("say it")))
told("streamed", streamed == "the gate is open")
told("tools", with_tools() == "north: 3 m")
raises("refused", BadRequestError, "chat", "fail")
raises("unknown", NotFoundError, "no-such-model", "hi")
told("left", asyncio.run(left()) == "left")
