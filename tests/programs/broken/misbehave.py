"""Takes its process down, holds it up, or floods it, as the request asks."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("misbehave")
MIB = 1024 * 1024


def raise_memory_error(request: Request) -> None:
    """An address space that is full: allocations fail, the process lives."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    used = pages * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 64 * MIB, hard))
    try:
        bytearray(512 * MIB)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def be_killed_for_memory(request: Request) -> None:
    """What the kernel does to the process that it picks when memory is out."""
    os.kill(os.getpid(), signal.SIGKILL)


def be_killed_by_a_limit(request: Request) -> None:
    """As the kernel does to who has used the CPU seconds that it may (man 2 setrlimit)."""
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGXCPU)


def write_to_null(request: Request) -> None:
    ctypes.memset(0, 1, 1)


def abort(request: Request) -> None:
    """As a native library does whose allocation fails."""
    os.abort()


def leave(request: Request) -> None:
    os._exit(3)


def never_return(request: Request) -> None:
    while True:
        time.sleep(60)


def flood(request: Request) -> str:
    """300 MiB of output, much faster than anybody reads."""
    line = b"x" * 4095 + b"\n"
    for _ in range(300 * 256):
        os.write(1, line)
    return "flooded"


def big_result(request: Request) -> str:
    return "z" * (100 * MIB)


def deaf(request: Request) -> None:
    """Never looks whether anybody still waits."""
    Path(request.json["flag"]).touch()
    time.sleep(60)


def listening(request: Request) -> None:
    Path(request.json["flag"]).touch()
    while not request.cancelled:
        time.sleep(0.005)


WAYS: dict[str, Callable[[Request], Any]] = {
    way.__name__: way
    for way in (
        raise_memory_error,
        be_killed_for_memory,
        be_killed_by_a_limit,
        write_to_null,
        abort,
        leave,
        never_return,
        flood,
        big_result,
        deaf,
        listening,
    )
}


@app.handler("/", timeout=3.0)
def act(context: dict[str, Any], request: Request) -> Any:
    """``{"do": a way}``; anything else is answered with the process' id."""
    if isinstance(request.json, dict):
        return WAYS[request.json["do"]](request)
    return os.getpid()


@app.handler("/v1/completions", timeout=60.0)
def act_for_long(context: dict[str, Any], request: Request) -> Any:
    return act(context, request)


@app.handler("/v1/chat/completions", timeout=1.0)
async def block_the_loop(context: dict[str, Any], request: Request) -> Any:
    """Asynchronous by its word alone."""
    time.sleep(60)
