"""Its process dies, gives up or hangs in a handler, as the request asks."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("die-in-handler")


@app.handler("/", timeout=0.3)
def act(context: dict[str, Any], request: Request) -> Any:
    match request.json:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(5)
        case "sys.exit":
            sys.exit("enough")
        case "hang":
            while True:
                time.sleep(60)
        case "hold the interpreter":
            re.match(r"(a+)+$", "a" * 64 + "b")
    return {"pid": os.getpid()}


@app.handler("/v1/chat/completions", timeout=60)
def stream(context: dict[str, Any], request: Request) -> Iterator[Any]:
    yield {"number": 1}
    while not os.path.exists(request.json["until"]):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


@app.handler("/spin", timeout=600)
def spin(context: dict[str, Any], request: Request) -> Any:
    while True:
        time.sleep(60)
