"""Takes a while to import and a while to init, as its environment says; tells what it saw."""

from __future__ import annotations

import os
import time
from typing import Any

from local_runtime import Request, Runtime

time.sleep(float(os.environ.get("SLOW_IMPORT", "0")))
app = Runtime("slow-start")
imported_by = os.environ["SPILLGATE_WORKER"]


@app.init
def init() -> dict[str, Any]:
    time.sleep(float(os.environ.get("SLOW_INIT", "0")))
    return {
        "init_saw": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "device": os.environ["SPILLGATE_DEVICE"],
    }


@app.handler("/")
def tell(context: dict[str, Any], request: Request) -> Any:
    if request.json == "die":
        os._exit(9)
    return {**context, "pid": os.getpid(), "worker": os.environ["SPILLGATE_WORKER"]}
