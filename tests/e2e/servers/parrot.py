"""A server that answers every request wrongly, and repeats in its answer all that it was sent.

The first part of a path says how: a status, ``malformed`` (no JSON), ``failed`` (a 200 whose JSON
says that it failed), ``frame`` (an error inside an event stream), ``cut`` (a stream that breaks).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

STATUSES = ("400", "401", "429", "500")
MODES = (*STATUSES, "malformed", "failed", "frame", "cut")


async def repeat(request: Request) -> Response:
    heard = " ".join(f"{name}: {value}" for name, value in request.headers.items())
    heard += " " + request.url.query + " " + (await request.body()).decode("utf-8", "replace")
    mode = request.path_params["mode"]
    if mode in STATUSES:
        return JSONResponse({"error": {"message": heard}, "detail": heard}, int(mode))
    if mode == "malformed":
        return Response(b'{"heard": ' + heard.encode(), media_type="application/json")
    if mode == "failed":
        return JSONResponse(
            {"id": "1", "status": "failed", "error": {"message": heard}, "detail": heard}
        )
    return StreamingResponse(events(heard, mode), media_type="text/event-stream")


async def events(heard: str, mode: str) -> AsyncIterator[str]:
    if mode == "frame":
        yield f"data: {json.dumps({'error': {'message': heard, 'code': 400}})}\n\n"
        return
    yield 'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    raise ConnectionResetError(heard)


def app() -> Starlette:
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return Starlette(routes=[Route("/{mode}/{rest:path}", repeat, methods=methods)])
