"""Words as OpenAI's chat: what a handler yields becomes the pieces of a completion, or a whole one.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from local_runtime.app.request import Request

ROUTE = "/v1/chat/completions"


def as_chat(function: Callable[..., Any]) -> Callable[..., Any]:
    """A handler of OpenAI's route around one that yields texts, plain or ``async``, or returns
    one."""
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def answer_async(context: Any, request: Request) -> Any:
            words = function(context, request)
            if _streams(request):
                return _pieces_async(request, words)
            return _whole(request, "".join([word async for word in words]))

        return answer_async

    @functools.wraps(function)
    def answer(context: Any, request: Request) -> Any:
        said = function(context, request)
        words = iter((said,)) if isinstance(said, str) else said
        if _streams(request):
            return _pieces(request, words)
        return _whole(request, "".join(words))

    return answer


def _streams(request: Request) -> bool:
    return isinstance(request.json, dict) and request.json.get("stream") is True


def _common(request: Request, kind: str) -> dict[str, Any]:
    name = request.json.get("model", "") if isinstance(request.json, dict) else ""
    return {
        "id": f"chatcmpl-{request.id}",
        "object": kind,
        "created": int(time.time()),
        "model": name,
    }


def _whole(request: Request, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**_common(request, "chat.completion"), "choices": [choice]}


def _piece(common: dict[str, Any], delta: dict[str, str], reason: str | None) -> dict[str, Any]:
    return {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def _pieces(request: Request, words: Iterator[str]) -> Iterator[dict[str, Any]]:
    common = _common(request, "chat.completion.chunk")
    yield _piece(common, {"role": "assistant", "content": ""}, None)
    for word in words:
        yield _piece(common, {"content": word}, None)
    yield _piece(common, {}, "stop")


async def _pieces_async(request: Request, words: AsyncIterator[str]) -> AsyncIterator[Any]:
    common = _common(request, "chat.completion.chunk")
    yield _piece(common, {"role": "assistant", "content": ""}, None)
    async for word in words:
        yield _piece(common, {"content": word}, None)
    yield _piece(common, {}, "stop")
