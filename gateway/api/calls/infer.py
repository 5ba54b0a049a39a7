"""The native surface: POST /v1/infer/{model}, any JSON in, any JSON out."""

from __future__ import annotations

from gateway.api.calls.call_requests import serve
from gateway.api.requests.bodies import parse_json, read_body
from gateway.api.requests.request import ParsedRequest, Receive, RequestContext, Scope, Send, only
from gateway.service import Gateway
from gateway.types import ApiError


class InferEndpoint:
    """POST /v1/infer/{model}. Raises ApiError 400 for a body that is no JSON or a model of another
    task, 404 for an unknown model."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("POST", scope)
        active = self._gateway.active
        name: str = scope["path_params"]["model"]
        spec = active.model(name, context.principal)
        if spec.task != "infer":
            raise ApiError(
                400,
                "wrong_endpoint",
                f"The model {name!r} serves {spec.task}; ask it by OpenAI's routes.",
                param="model",
            )
        body = await read_body(self._gateway, context, receive)
        parse_json(body)
        streams = b"text/event-stream" in context.headers.get(b"accept", b"")
        parsed = ParsedRequest(
            active.target(name), "infer", body, streams, False, spec.max_output_tokens
        )
        await serve(self._gateway, context, parsed, receive, send)
