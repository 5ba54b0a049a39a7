"""What every route of the front answers with, and who may ask it."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Endpoint = Callable[[Request], Awaitable[Response]]


def json_response(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def problem(status: int, message: str) -> Response:
    return json_response({"error": message}, status)


def keyed(path: str, endpoint: Endpoint, *methods: str, key: str, name: str) -> Route:
    """A route for callers who have the key, and ask for the endpoint of that name if for any."""

    async def guarded(request: Request) -> Response:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), key.encode()):
            return problem(401, "unauthorized")
        if request.path_params.get("endpoint", name) != name:
            return problem(404, "endpoint not found")
        return await endpoint(request)

    return Route(path, guarded, methods=methods)
