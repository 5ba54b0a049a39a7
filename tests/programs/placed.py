"""Says which process it is, what it was given and what it is told to say; sleeps when asked to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from local_runtime import Batch, Request, Runtime

app = Runtime("placed")
STARTED: set[str] = set()
"""The ids of the calls that began to run here."""


@app.handler("/", concurrency=4, warmup={"warm": True})
async def here(context: dict[str, Any], request: Request) -> Any:
    STARTED.add(request.id)
    await asyncio.sleep(request.json.get("sleep", 0))
    names = ("CUDA_VISIBLE_DEVICES", "SPILLGATE_DEVICE", "SPILLGATE_WORKER", "SPILLGATE_TOKEN")
    return {
        "said": request.json.get("say"),
        "pid": os.getpid(),
        "folder": os.getcwd(),
        "env": {name: os.environ.get(name) for name in request.json.get("names", names)},
    }


@app.handler("/v1/chat/completions", concurrency=4)
async def chat(context: dict[str, Any], request: Request) -> AsyncIterator[Any]:
    for number in range(request.json["to"]):
        yield {"choices": [{"index": 0, "delta": {"content": str(number)}}]}
        await asyncio.sleep(request.json.get("pause", 0))


@app.handler("/v1/embeddings", batch=Batch(max_size=4, max_wait_s=0.2))
def lengths(context: dict[str, Any], requests: list[Request]) -> Any:
    return [{"length": len(request.json["text"]), "of": len(requests)} for request in requests]


@app.handler("/v1/completions", concurrency=4)
async def started(context: dict[str, Any], request: Request) -> Any:
    """Those of the calls asked about that began here and were not cancelled."""
    return sorted(STARTED.intersection(request.json["ids"]))
