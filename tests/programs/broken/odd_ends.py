"""Handlers that end as no handler should."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from local_runtime import Batch, InvalidInput, Request, Response, Runtime

app = Runtime("odd ends")


class Panic(BaseException):
    """No Exception, like the panics of extensions in Rust."""


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("nothing to say")


RAISED: dict[str, Callable[[], BaseException]] = {
    "panic": Panic,
    "interrupt": KeyboardInterrupt,
    "exit": lambda: SystemExit(3),
    "generator exit": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "speechless": Speechless,
    "half a pair": lambda: ValueError("a \ud800"),
    "a megabyte": lambda: ValueError("m" * 1_000_000),
    "refused by an exception": lambda: InvalidInput(ValueError("too long")),  # type: ignore[arg-type]
    "refused at an index": lambda: InvalidInput("too long", param=3),  # type: ignore[arg-type]
    "refused with half a pair": lambda: InvalidInput("bad \ud800", param="\udfff"),
}
RETURNED: dict[str, Callable[[], Any]] = {
    "tokens beyond number": lambda: {"usage": {"prompt_tokens": 10**30, "completion_tokens": -1}},
    "half a pair in a header": lambda: Response(json=1, headers={"X-A": "\ud800", "X-B": "b"}),
    "half a pair in the body": lambda: "\ud800",
    "its process": os.getpid,
}


def _end(way: str) -> Any:
    if way == "closed log":
        sys.stderr.close()
        raise ValueError(way)
    if way in RAISED:
        raise RAISED[way]()
    return RETURNED[way]()


@app.handler("/", timeout=20)
def plain(context: dict[str, Any], request: Request) -> Any:
    return _end(request.json)


@app.handler("/gentle", timeout=20, concurrency=2)
async def gentle(context: dict[str, Any], request: Request) -> Any:
    return _end(request.json)


@app.handler("/batch", timeout=20, batch=Batch(max_size=4, max_wait_s=0.0))
def batch(context: dict[str, Any], requests: list[Request]) -> list[Any]:
    return [_end(request.json) for request in requests]


@app.handler("/stream", timeout=20)
def stream(context: dict[str, Any], request: Request) -> Iterator[Any]:
    yield _end(request.json)


def _of(number: int) -> Callable[[dict[str, Any], Request], int]:
    return lambda context, request: number


for number in range(3000):
    app.handler(f"/one/of/three/thousand/routes/{number}")(_of(number))
