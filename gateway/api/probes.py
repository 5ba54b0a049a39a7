"""Whether the gateway lives, whether it may be sent traffic, and what it counts."""

from __future__ import annotations

import msgspec

from gateway.api.openapi import DOCS, document
from gateway.api.request import JSON, Receive, Scope, Send, Visit, only, respond, respond_json
from gateway.service import Service

_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_HTML = (b"content-type", b"text/html; charset=utf-8")


class Health:
    """GET /healthz: the process answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        await respond_json(send, scope["visit"], {"status": "ok"})


class Ready:
    """GET /readyz: the policy is loaded, the stores work, every required backend is warm."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit: Visit = scope["visit"]
        only("GET", scope)
        missing = self._service.not_ready()
        if self._service.ledger.failing:
            missing.append("the ledger cannot be written")
        if self._service.shared.failing:
            missing.append("the shared store does not answer")
        version = self._service.current.policy.version
        if not missing:
            await respond_json(send, visit, {"status": "ready", "policy": version})
            return
        body = msgspec.json.encode({"status": "not ready", "policy": version, "missing": missing})
        await respond(send, visit, 503, body, [JSON, (b"retry-after", b"1")])


class MetricsPage:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        await respond(send, scope["visit"], 200, self._service.metrics.render(), [_TEXT])


class OpenApi:
    """GET /openapi.json."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        await respond(send, scope["visit"], 200, msgspec.json.encode(document()), [JSON])


class Docs:
    """GET /docs: the same as a page."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        await respond(send, scope["visit"], 200, DOCS.encode(), [_HTML])
