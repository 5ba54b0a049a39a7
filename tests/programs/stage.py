"""Does what its input says, and leaves a file beside itself for every call that it runs.

{"echo": x}       answers {"echo": x}
{"sleep": s}      waits, then answers
{"fail": text}    raises ValueError(text)
{"refuse": text}  refuses the input
{"exit": code}    the process ends
/stream           {"stream": n} puts out n items, then {"fail": text} raises, {"exit": code} ends
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from local_runtime import InvalidInput, Request, Runtime

app = Runtime("stage")


@app.init
def init() -> dict[str, Any]:
    return {}


@contextlib.contextmanager
def noted(request: Request) -> Iterator[None]:
    """The file's name is the process and the call; it is gone when the handler is."""
    note = Path(__file__).parent / f"{os.getpid()}-{request.id}.running"
    note.touch()
    try:
        yield
    finally:
        note.unlink()


def ends(asked: dict[str, Any]) -> None:
    if "fail" in asked:
        raise ValueError(asked["fail"])
    if "refuse" in asked:
        raise InvalidInput(asked["refuse"], param="refuse")
    if "exit" in asked:
        os._exit(asked["exit"])


@app.handler("/", concurrency=32, warmup={"echo": "warm"})
async def answer(context: dict[str, Any], request: Request) -> Any:
    with noted(request):
        await asyncio.sleep(request.json.get("sleep", 0))
        ends(request.json)
        return {"echo": request.json.get("echo")}


@app.handler("/stream", concurrency=32)
async def stream(context: dict[str, Any], request: Request) -> AsyncIterator[Any]:
    with noted(request):
        for number in range(request.json["stream"]):
            yield {"n": number}
            await asyncio.sleep(0.02)
        ends(request.json)
