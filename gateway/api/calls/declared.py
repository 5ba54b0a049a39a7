"""Routes that the policy names: ``models: {ocr: {task: other, path: /v1/ocr, ...}}``.

POST there is a call of the model, whatever its body: that goes to the same path of the backend as
it came, with its Content-Type, and so does the answer. It is held for and charged by its price, as
a native call is.
"""

from __future__ import annotations

from gateway.api.calls.call_requests import serve
from gateway.api.requests.bodies import read_body
from gateway.api.requests.request import (
    JSON,
    ParsedRequest,
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
)
from gateway.api_keys import without_keys
from gateway.service import Gateway
from gateway.types import ApiError


class DeclaredEndpoint:
    """Every path that is no route of the gateway's own. Raises ApiError 404 where the policy names
    none either."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        active, path = self._gateway.active, scope["path"]
        name = active.paths.get(path)
        if name is None:
            told = without_keys(path)
            raise ApiError(
                404, "not_found", f"There is nothing at {told}. GET /docs lists the routes."
            )
        context: RequestContext = scope["context"]
        only("POST", scope)
        spec = active.model(name, context.principal)
        body = await read_body(self._gateway, context, receive)
        given = context.headers.get(b"content-type", JSON[1]).decode("latin-1")
        parsed = ParsedRequest(
            name,
            "other",
            body,
            False,
            False,
            spec.max_output_tokens,
            content_type=given if given.isascii() and given.isprintable() else "",
            path=path,
        )
        await serve(self._gateway, context, parsed, receive, send)
