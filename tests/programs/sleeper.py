"""One call at a time, for as long as it says; the answer says when it began."""

from __future__ import annotations

import time
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("sleeper")


@app.init
def init() -> dict[str, Any]:
    return {}


@app.handler("/", warmup={"seconds": 0})
def sleep(context: dict[str, Any], request: Request) -> Any:
    began = time.monotonic()
    time.sleep(request.json["seconds"])
    return {"began": began}
