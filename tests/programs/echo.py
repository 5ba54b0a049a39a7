"""Every sort of handler, without a model."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from local_runtime import Batch, InvalidInput, Request, Response, Runtime

app = Runtime("echo")


@app.init
def init() -> dict[str, Any]:
    return {"pid": os.getpid(), "seen": []}


@app.handler("/", warmup={"warm": True})
def echo(context: dict[str, Any], request: Request) -> Any:
    return {"echo": request.json, "id": request.id, "pid": context["pid"]}


@app.handler("/v1/chat/completions")
def chat(context: dict[str, Any], request: Request) -> Any:
    if not request.stream:
        return {"choices": [{"text": "ab"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    return _tokens("ab")


def _tokens(text: str) -> Iterator[dict[str, Any]]:
    for letter in text:
        yield {"choices": [{"text": letter}]}
    yield {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": len(text)}}


@app.handler("/count", concurrency=4)
async def count(context: dict[str, Any], request: Request) -> AsyncIterator[Any]:
    for number in range(request.json["to"]):
        if number == request.json.get("fail_at"):
            raise RuntimeError("secret of the model")
        yield {"number": number, "pad": "x" * request.json.get("pad", 0)}
        await asyncio.sleep(request.json.get("pause", 0))


@app.handler("/batch", batch=Batch(max_size=4, max_wait_s=0.05))
def double(context: dict[str, Any], requests: list[Request]) -> list[Any]:
    if any(request.json == "poison" for request in requests):
        raise ValueError("poisoned")
    return [{"double": request.json * 2, "batch": len(requests)} for request in requests]


@app.handler("/fail")
def fail(context: dict[str, Any], request: Request) -> Any:
    raise ValueError("secret of the model")


@app.handler("/refuse")
def refuse(context: dict[str, Any], request: Request) -> Any:
    if request.json == "status":
        return Response(json={"error": {"message": "no such voice"}}, status=422)
    raise InvalidInput("text must not be empty", param="text")


@app.handler("/sleep", concurrency=8)
async def sleep(context: dict[str, Any], request: Request) -> Any:
    await asyncio.sleep(request.json)
    return {"slept": request.json}


@app.handler("/block", timeout=60)
def block(context: dict[str, Any], request: Request) -> Any:
    """Runs until it is cancelled, then says so to the next call of /seen. Makes the file of which
    it is told once it runs."""
    if isinstance(request.json, dict) and "began" in request.json:
        Path(request.json["began"]).touch()
    while not request.cancelled:
        time.sleep(0.005)
    context["seen"].append(request.id)
    return None


@app.handler("/seen")
def seen(context: dict[str, Any], request: Request) -> Any:
    return context["seen"]


@app.handler("/flood")
def flood(context: dict[str, Any], request: Request) -> Any:
    for _ in range(request.json):
        print("x" * 1000)
        print("y" * 1000, file=sys.stderr)
    return "done"


@app.handler("/big")
def big(context: dict[str, Any], request: Request) -> Any:
    return "z" * request.json


@app.handler("/odd")
def odd(context: dict[str, Any], request: Request) -> Any:
    return object()


@app.background("/later")
def later(context: dict[str, Any], request: Request) -> Any:
    context["seen"].append(request.id)
    return {"done": request.json["n"]}
