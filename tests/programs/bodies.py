"""Bodies of other things than JSON, and a handler that takes its process along."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

from local_runtime import Request, Response, Runtime

app = Runtime("bodies")


@app.handler("/")
def echo(context: dict[str, Any], request: Request) -> Any:
    return {"echo": request.json, "id": request.id}


@app.handler("/picture")
def picture(context: dict[str, Any], request: Request) -> Response:
    return Response(body=b"\x89PNG\xff", headers={"Content-Type": "image/png"})


@app.handler("/number")
def number(context: dict[str, Any], request: Request) -> Response:
    return Response(body=b"123", headers={"Content-Type": "text/plain"})


@app.handler("/tune")
def tune(context: dict[str, Any], request: Request) -> Response:
    return Response(body=_each(b"\xff\x00", b"12"), headers={"Content-Type": "audio/wav"})


@app.handler("/poem")
def poem(context: dict[str, Any], request: Request) -> Response:
    """With a character that is cut in two."""
    return Response(body=_each(b"\xc3", b"\xa9t", b"\xc3\xa9"), headers={"Content-Type": "text/x"})


@app.handler("/die")
def die(context: dict[str, Any], request: Request) -> None:
    os._exit(3)


@app.background("/later")
def later(context: dict[str, Any], request: Request) -> Any:
    return {"pages": 3}


def _each(*pieces: bytes) -> Generator[bytes, None, None]:
    yield from pieces
