"""Its init fails."""

from __future__ import annotations

from typing import Any

from local_runtime import Request, Runtime

app = Runtime("raise-in-init")


@app.init
def init() -> dict[str, Any]:
    raise RuntimeError("no weights here")


@app.handler("/")
def never(context: dict[str, Any], request: Request) -> Any: ...
