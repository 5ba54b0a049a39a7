"""Whether the gateway lives, whether it may be sent traffic, and what it counts."""

from __future__ import annotations

import msgspec

from gateway.api.openapi import DOCS, document
from gateway.api.requests.request import (
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
from gateway.types import Role

TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_ADMINS: tuple[Role, ...] = ("admin",)
_HTML = (b"content-type", b"text/html; charset=utf-8")


class HealthEndpoint:
    """GET /healthz: the process answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        await respond_json(send, scope["context"], {"status": "ok"})


class ReadyEndpoint:
    """GET /readyz: the policy is loaded, the stores work, every required backend is warm, in every
    process that serves."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        together = self._gateway.together
        found = self._gateway.readiness() if together is None else await together.readiness()
        told: dict[str, object] = {"policy": self._gateway.active.policy.version}
        if found.warnings:
            told["warnings"] = found.warnings
        if not found.missing:
            await respond_json(send, context, {"status": "ready", **told})
            return
        body = msgspec.json.encode({"status": "not ready", **told, "missing": found.missing})
        await respond(send, context, 503, body, [JSON, (b"retry-after", b"1")])


class MetricsEndpoint:
    """GET /metrics: Prometheus' text format; where the policy says so to admin keys alone."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._needs_key = gateway.active.policy.server.metrics == "key"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        if self._needs_key:
            context.require(_ADMINS)
        await respond(send, context, 200, await scraped(self._gateway), [TEXT])


async def scraped(gateway: Gateway) -> bytes:
    """All that is counted, of every process that serves."""
    together = gateway.together
    return gateway.metrics.render() if together is None else await together.metrics()


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


class RootEndpoint:
    """GET /: browsers are led to the console, whose path is ``console``; programs get the page of
    /docs."""

    def __init__(self, console: str) -> None:
        self._console = console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        context: RequestContext = scope["context"]
        if b"text/html" in context.headers.get(b"accept", b""):
            await respond(send, context, 303, b"", [(b"location", self._console.encode())])
            return
        await respond(send, context, 200, DOCS.encode(), [_HTML])
