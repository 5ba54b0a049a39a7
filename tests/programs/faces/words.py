"""A chat of words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("words")


@app.chat()
def say(context: Any, request: Request) -> Iterator[str]:
    yield from ("You ", "said ", request.json["messages"][-1]["content"])
