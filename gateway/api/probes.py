"""Whether the gateway lives, whether it may be sent traffic, and what it counts."""

from __future__ import annotations

import msgspec

from gateway.api.openapi import DOCS, document
from gateway.api.request import (
    JSON,
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
    respond,
    respond_json,
)
from gateway.service import Gateway

_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_HTML = (b"content-type", b"text/html; charset=utf-8")


class HealthEndpoint:
    """GET /healthz: the process answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        await respond_json(send, scope["context"], {"status": "ok"})


class ReadyEndpoint:
    """GET /readyz: the policy is loaded, the stores work, every required backend is warm."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        missing = self._gateway.not_ready()
        if self._gateway.ledger.failing:
            missing.append("the ledger cannot be written")
        if self._gateway.shared.failing:
            missing.append("the shared store does not answer")
        told: dict[str, object] = {"policy": self._gateway.active.policy.version}
        # Nothing is missing: calls of keys that are known are taken, and within what limits let.
        warnings = []
        if self._gateway.keys.failing:
            warnings.append("changes of keys cannot be read")
        if self._gateway.shared.degraded:
            warnings.append(f"the shared store is lost: {self._gateway.shared.degraded}")
        if warnings:
            told["warnings"] = warnings
        if not missing:
            await respond_json(send, context, {"status": "ready", **told})
            return
        body = msgspec.json.encode({"status": "not ready", **told, "missing": missing})
        await respond(send, context, 503, body, [JSON, (b"retry-after", b"1")])


class MetricsEndpoint:
    """GET /metrics: Prometheus' text format."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        await respond(send, scope["context"], 200, self._gateway.metrics.render(), [_TEXT])


class OpenApiEndpoint:
    """GET /openapi.json."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        await respond(send, scope["context"], 200, msgspec.json.encode(document()), [JSON])


class DocsEndpoint:
    """GET /docs: the same as a page."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        await respond(send, scope["context"], 200, DOCS.encode(), [_HTML])
