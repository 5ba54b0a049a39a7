"""Handlers that choose status, headers and bytes of their answers."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from local_runtime import Request, Response, Runtime

app = Runtime("answers")


@app.handler("/", warmup=1)
def whole(context: dict[str, Any], request: Request) -> Any:
    return {"json": request.json, "agent": request.headers.get("user-agent")}


@app.handler("/chosen")
def chosen(context: dict[str, Any], request: Request) -> Response:
    """The last three would forge an answer's frame or its id."""
    headers = {"X-Mine": "1", "Content-Length": "3", "X-Request-Id": "other", "X-Bad": "a\r\nb: c"}
    return Response(json={"made": True}, status=201, headers=headers)


@app.handler("/pieces")
def pieces(context: dict[str, Any], request: Request) -> Response:
    return Response(body=_pieces(request.json), headers={"Content-Type": "text/plain"})


def _pieces(count: int) -> Generator[bytes, None, None]:
    for number in range(count):
        yield b"piece %d\n" % number
    if count > 100:
        raise RuntimeError("too many")
