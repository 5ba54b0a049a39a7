"""Handlers that give back what came, however large it is, in every way in which they can."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any

from local_runtime import Batch, Request, Response, Runtime

app = Runtime("large")
BINARY = {"Content-Type": "application/octet-stream"}
PIECE = 300_000


@app.handler("/bytes", concurrency=8)
async def as_bytes(context: dict[str, Any], request: Request) -> Response:
    return Response(body=request.file().data, headers=BINARY)


@app.handler("/batch", batch=Batch(max_size=4, max_wait_s=0.01))
def together(context: dict[str, Any], requests: list[Request]) -> list[Response]:
    return [Response(body=request.file().data, headers=BINARY) for request in requests]


@app.handler("/json")
def as_json(context: dict[str, Any], request: Request) -> Any:
    return request.json


@app.handler("/array")
def as_array(context: dict[str, Any], request: Request) -> Response:
    import numpy as np

    return Response(body=np.frombuffer(request.file().data, np.uint8).tobytes(), headers=BINARY)


@app.handler("/pieces")
def in_pieces(context: dict[str, Any], request: Request) -> Response:
    return Response(body=_pieces(request.file().data), headers=BINARY)


@app.handler("/items")
def as_items(context: dict[str, Any], request: Request) -> Iterator[str]:
    for piece in _pieces(request.file().data):
        yield piece.hex()


@app.handler("/hold", timeout=60)
def hold(context: dict[str, Any], request: Request) -> None:
    """Until nobody waits for it."""
    while not request.cancelled:
        time.sleep(0.005)


def _pieces(data: bytes) -> Generator[bytes, None, None]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
