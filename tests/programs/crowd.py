"""Says how many calls there were at once, at the most."""

from __future__ import annotations

import asyncio
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("crowd")


@app.init
def init() -> dict[str, Any]:
    return {"now": 0, "most": 0}


@app.handler("/", concurrency=64)
async def answer(context: dict[str, Any], request: Request) -> Any:
    """Takes as many seconds as it is told."""
    context["now"] += 1
    context["most"] = max(context["most"], context["now"])
    await asyncio.sleep(request.json)
    context["now"] -= 1
    return {"most": context["most"]}
