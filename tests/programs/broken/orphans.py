"""Starts what outlives it, and hands its stdin on."""

from __future__ import annotations

import atexit
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("orphans")


@app.handler("/", timeout=20)
def process(context: dict[str, Any], request: Request) -> int:
    return os.getpid()


@app.handler("/daemon", timeout=20)
def daemon(context: dict[str, Any], request: Request) -> None:
    """A program in a session of its own keeps the worker's output open."""
    orphan = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(request.json).write_text(str(orphan.pid))
    os._exit(3)


@app.handler("/fork", timeout=20)
def fork(context: dict[str, Any], request: Request) -> None:
    """A copy of the worker in a session of its own keeps all that it had open."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        Path(request.json).write_text(str(os.getpid()))
        time.sleep(600)
    while not Path(request.json).exists():
        time.sleep(0.01)
    os._exit(3)


@app.handler("/cat", timeout=20)
def cat(context: dict[str, Any], request: Request) -> str:
    """A program that reads to the end of what it takes for its input."""
    return subprocess.run(["cat"], stdout=subprocess.PIPE, text=True).stdout


@app.handler("/close", timeout=20)
def close(context: dict[str, Any], request: Request) -> None:
    """Leaves a file when it ends by itself, and is not killed."""
    atexit.register(Path(request.json).touch)
    os.close(0)
