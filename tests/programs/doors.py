"""Answers as it is told to: at once or late, with a text, a list or a failure."""

from __future__ import annotations

import asyncio
from typing import Any

from local_runtime import InvalidInput, Request, Runtime

app = Runtime("doors")


@app.init
def init() -> dict[str, Any]:
    return {}


@app.handler("/", timeout=60, concurrency=4)
async def answer(context: dict[str, Any], request: Request) -> Any:
    """``seconds`` to wait, ``refuse``: what is wrong, ``say``: what is answered; else the input."""
    asked = request.json
    await asyncio.sleep(asked.get("seconds", 0))
    if "refuse" in asked:
        raise InvalidInput(asked["refuse"])
    return asked.get("say", {"echo": asked})
