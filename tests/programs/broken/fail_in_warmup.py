"""It loads, and cannot serve its own sample."""

from __future__ import annotations

from typing import Any

from local_runtime import Request, Runtime

app = Runtime("fail-in-warmup")


@app.handler("/", warmup={"text": "hello"})
def shout(context: dict[str, Any], request: Request) -> Any:
    return request.json["txet"]
