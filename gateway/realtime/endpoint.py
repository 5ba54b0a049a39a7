"""GET /v1/realtime: a conversation is admitted, its backend is asked, and then its client is
answered. What is refused is an answer of HTTP like any other."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.api.calls.wrong_endpoint import wrong_endpoint
from gateway.api.requests.request import (
    CONVERSATIONS,
    ParsedRequest,
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
)
from gateway.api.routed_paths import RoutedPath
from gateway.service import Gateway
from gateway.types import ApiError
from local_runtime.http.upgrades import UPGRADE, Upgrade

PATH = CONVERSATIONS
_OF_BODY = frozenset((b"content-length", b"transfer-encoding"))
_BETA = b"openai-beta"
_BETA_OFFERED = "openai-beta."


def routes(gateway: Gateway) -> list[RoutedPath]:
    """Of conversations."""
    return [RoutedPath(PATH, RealtimeEndpoint(gateway))]


class RealtimeEndpoint:
    """Raises ApiError 400 for a request that names no model, another one than is meant, or is no
    handshake of a WebSocket; 426 where it does not wish for one; 404 for an unknown model."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        gateway = self._gateway
        active = gateway.active.of(context.principal.user)
        parsed = _parsed(active, context, scope)
        upgrade = _upgrade_of(scope, context)
        from gateway.realtime.opening import ConversationOpening

        opening = ConversationOpening(gateway, active, context, parsed, upgrade)
        await opening.serve(_head_of(scope), receive, send)


def _upgrade_of(scope: Scope, context: RequestContext) -> Upgrade:
    """HTTP/1.0 can wish for none (RFC 9110, 7.8)."""
    upgrade: Upgrade | None = scope.get(UPGRADE)
    wishes = b"upgrade" in context.headers and scope["http_version"] != "1.0"
    if upgrade is None and wishes and not _OF_BODY.isdisjoint(context.headers):
        said = "The handshake of a WebSocket has no body: leave it out, and the headers of its end."
        raise ApiError(400, "invalid_websocket", said)
    if upgrade is None:
        raise ApiError(
            426,
            "websocket_required",
            f"{PATH} is a WebSocket: ask for it with `Upgrade: websocket` (HTTP/1.1).",
            headers={"Upgrade": "websocket"},
        )
    if scope["method"] != "GET":
        said = f"The handshake of a WebSocket is a GET, not {scope['method']}."
        raise ApiError(405, "method_not_allowed", said, headers={"Allow": "GET"})
    return upgrade


def _parsed(active: ActivePolicy, context: RequestContext, scope: Scope) -> ParsedRequest:
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    unknown = sorted({name for name, _ in query} - {"model"})
    if unknown:
        raise ApiError(
            400,
            "unsupported",
            f"The query of {PATH} names a model alone: leave {unknown[0]!r} out.",
            param=unknown[0],
        )
    if len(query) != 1 or not query[0][1]:
        said = f"Name one model in the query, such as {PATH}?model=gpt-realtime."
        raise ApiError(400, "missing_field", said, param="model")
    asked = query[0][1]
    spec = active.model(asked, context.principal)
    if spec.task != "realtime":
        raise wrong_endpoint(asked, spec, "realtime")
    model = active.target(asked, context.principal)
    return ParsedRequest(
        model,
        "realtime",
        msgspec.json.encode({"model": model}),
        True,
        False,
        spec.max_output_tokens,
        betas=_betas_of(context),
    )


def _betas_of(context: RequestContext) -> str:
    """Which version of the protocol its client speaks: browsers can send no header for it."""
    given = context.headers.get(_BETA, b"").decode("latin-1").strip()
    if given.isprintable() and given:
        return given
    offered = context.headers.get(b"sec-websocket-protocol", b"").decode("latin-1").split(",")
    betas = [one.strip().removeprefix(_BETA_OFFERED) for one in offered if _BETA_OFFERED in one]
    return betas[0].replace("-", "=", 1) if betas else ""


def _head_of(scope: Scope) -> bytes:
    lines = [b"GET %b HTTP/1.1" % scope["raw_path"]]
    lines += [name + b": " + value for name, value in scope["headers"]]
    return b"\r\n".join(lines) + b"\r\n\r\n"
