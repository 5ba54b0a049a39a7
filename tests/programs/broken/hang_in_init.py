"""Its init never returns."""

from __future__ import annotations

import time
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("hang-in-init")


@app.init
def init() -> dict[str, Any]:
    while True:
        time.sleep(60)


@app.handler("/")
def never(context: dict[str, Any], request: Request) -> Any: ...
