"""Counts the calls of its handlers, warm-ups among them."""

from __future__ import annotations

from typing import Any

from local_runtime import Request, Runtime

app = Runtime("warmups")


@app.init
def init() -> dict[str, Any]:
    return {"/a": 0, "/b": 0, "/c": 0}


@app.handler("/a", warmup={})
@app.handler("/b", warmup={})
@app.handler("/c")
def count(context: dict[str, Any], request: Request) -> Any:
    context[request.route] += 1


@app.handler("/counts")
def counts(context: dict[str, Any], request: Request) -> Any:
    return context
