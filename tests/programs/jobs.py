"""A background call that ends as its request asks."""

from __future__ import annotations

import os
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("jobs")


@app.background("/job")
def job(context: dict[str, Any], request: Request) -> Any:
    match request.json["way"]:
        case "raise":
            raise ValueError("a secret")
        case "die":
            os._exit(5)
    return {"done": True}
