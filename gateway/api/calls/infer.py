"""The native surface: POST /v1/infer/{model}, any JSON in, any JSON out; or a form with files, or
one file, to a backend that takes those."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.forms import boundary_of, parts_of
from adapters.types import JSON_TYPE, Task
from gateway.active_policy import ActivePolicy
from gateway.api.calls.call_requests import serve
from gateway.api.calls.wrong_endpoint import wrong_endpoint
from gateway.api.requests.bodies import parse_json, read_body
from gateway.api.requests.request import ParsedRequest, Receive, RequestContext, Scope, Send, only
from gateway.jobs.digests import AsSent
from gateway.service import Gateway
from gateway.types import ApiError, Principal
from local_runtime.app.forms import kind_of


class InferEndpoint:
    """POST /v1/infer/{model}. Raises ApiError 400 for a body that is not what its Content-Type says
    or a model of another task, 404 for an unknown model, 415 for a file to a model whose backends
    take JSON alone."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("POST", scope)
        active = self._gateway.active
        name: str = scope["path_params"]["model"]
        spec = active.model(name, context.principal)
        if spec.task != "infer":
            raise wrong_endpoint(name, spec, "infer")
        body = await read_body(self._gateway, context, receive)
        content_type = self._type_of(context, spec.backends)
        task: Task = "infer" if content_type == JSON_TYPE else "infer_file"
        if task == "infer":
            parse_json(body)
        else:
            _check_form(body, content_type)
        streams = b"text/event-stream" in context.headers.get(b"accept", b"")
        model = active.target(name, context.principal)
        parsed = ParsedRequest(
            model,
            task,
            body,
            streams,
            False,
            spec.max_output_tokens,
            content_type=content_type,
            sent=None if model == name else AsSent(name, body),
        )
        await serve(self._gateway, context, parsed, receive, send)

    def _type_of(self, context: RequestContext, names: Iterable[str]) -> str:
        """The body's type. Bytes that name no type are JSON where nobody takes files."""
        given = type_of(context)
        backends = self._gateway.active.backends
        if given == JSON_TYPE or any(
            "infer_file" in backends[name].adapter.capabilities.tasks for name in names
        ):
            return given
        if given.lower().startswith("application/octet-stream"):
            return JSON_TYPE
        raise ApiError(
            415,
            "unsupported_media_type",
            "The backends of this model take JSON alone; send files in it as base64.",
            param="Content-Type",
        )


def parsed_json(
    active: ActivePolicy, principal: Principal, name: str, body: bytes
) -> ParsedRequest:
    """A whole call of JSON. Raises ApiError 403 and 404 for a model."""
    spec, model = active.model(name, principal), active.target(name, principal)
    sent = None if model == name else AsSent(name, body)
    return ParsedRequest(model, "infer", body, False, False, spec.max_output_tokens, sent=sent)


def _check_form(body: bytes, content_type: str) -> None:
    boundary = boundary_of(content_type)
    try:
        if boundary is not None:
            parts_of(body, boundary)
    except ValueError as error:
        raise ApiError(
            400, "invalid_body", f"The form is not what its Content-Type says: {error}."
        ) from None


def type_of(context: RequestContext) -> str:
    """The Content-Type of what is no JSON: a form's with its boundary, or a file's. All else is
    taken for JSON, as of clients that name nothing."""
    given = context.headers.get(b"content-type", b"").decode("latin-1")
    if not given or not (given.isascii() and given.isprintable()):
        return JSON_TYPE
    kind = kind_of(given)
    is_file = kind == "file" or (kind == "form" and boundary_of(given) is not None)
    return given if is_file else JSON_TYPE
