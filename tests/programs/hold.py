"""Answers at once, or holds a call for half a minute after saying that it has begun."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("hold")


@app.init
def init() -> dict[str, Any]:
    return {}


@app.handler("/", timeout=60)
def answer(context: dict[str, Any], request: Request) -> Any:
    """``hold`` names the file that says: the call is here."""
    if "hold" in request.json:
        Path(request.json["hold"]).touch()
        time.sleep(30)
    return {"pid": os.getpid()}
