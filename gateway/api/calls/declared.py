"""Routes that the policy names: ``models: {ocr: {task: other, path: /v1/ocr, ...}}``.

A request there, by the model's method, is a call of the model, whatever its body: that goes to the
same path of the backend as it came, with its query and its Content-Type, and so does the answer. It
is held for and charged by its price, as a native call is.
"""

from __future__ import annotations

from gateway.active_policy import ActivePolicy
from gateway.api.calls.call_requests import serve
from gateway.api.requests.bodies import read_body
from gateway.api.requests.request import (
    JSON,
    ParsedRequest,
    Receive,
    RequestContext,
    Scope,
    Send,
)
from gateway.api_keys import without_keys
from gateway.service import Gateway
from gateway.types import ApiError


class DeclaredEndpoint:
    """Every path that is no route of the gateway's own. Raises ApiError 404 where the policy names
    none either, and 405 for a method that it does not name."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        active, context = self._gateway.active, scope["context"]
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        name = active.routes.get((method, scope["path"]))
        if name is None:
            raise _nothing_there(active, scope)
        spec = active.model(name, context.principal)
        body = await read_body(self._gateway, context, receive)
        parsed = ParsedRequest(
            name,
            "other",
            body,
            False,
            False,
            spec.max_output_tokens,
            content_type=_type_of(context),
            declared=(method, _target(scope)),
        )
        await serve(self._gateway, context, parsed, receive, send)


def _type_of(context: RequestContext) -> str:
    given = context.headers.get(b"content-type", JSON[1]).decode("latin-1")
    return given if given.isascii() and given.isprintable() else ""


def _target(scope: Scope) -> str:
    path: str = scope["path"]
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{path}?{query}" if query else path


def _nothing_there(active: ActivePolicy, scope: Scope) -> ApiError:
    asked, path = scope["method"], scope["path"]
    if methods := [method for method, there in active.routes if there == path]:
        takes = ", ".join(methods)
        said = f"{path} takes {takes}, not {asked}."
        return ApiError(405, "method_not_allowed", said, headers={"Allow": takes})
    said = f"There is nothing at {without_keys(path)}. GET /docs lists the routes."
    return ApiError(404, "not_found", said)
