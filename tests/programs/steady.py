"""One call at a time, a fifth of a second each."""

from __future__ import annotations

import time
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("steady")


@app.init
def init() -> dict[str, Any]:
    return {}


@app.handler("/", warmup={"echo": 0})
def answer(context: dict[str, Any], request: Request) -> Any:
    time.sleep(0.2)
    return request.json["echo"]
