"""Around every route: the trace of one request. Pure ASGI middleware."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.clock import Clock
from gateway.telemetry import names
from gateway.telemetry.spans import TRACE, RequestTrace, TraceSink
from gateway.telemetry.trace_context import TraceIds, read_context

_UNTRACED = frozenset(("/healthz", "/readyz", "/metrics"))
"""Asked every few seconds by machines, and of no call."""


class TracingMiddleware:
    """Begins a trace for each request, or goes on with its caller's."""

    def __init__(
        self, app: ASGIApp, ids: TraceIds, clock: Clock, sink: TraceSink, *, propagates: bool
    ) -> None:
        self._app = app
        self._ids = ids
        self._clock = clock
        self._sink = sink
        self._propagates = propagates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        trace = self._begin(scope)

        async def notice(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                trace.attributes[names.STATUS] = message["status"]
            await send(message)

        before = TRACE.set(trace)
        try:
            await self._app(scope, receive, notice)
        finally:
            TRACE.reset(before)
            _end(trace, scope)

    def _begin(self, scope: Scope) -> RequestTrace:
        given = {name: value for name, value in scope["headers"] if name.startswith(b"trace")}
        parent = read_context(given.get(b"traceparent", b""), given.get(b"tracestate", b""))
        ids = self._ids
        parent = parent or ids.begin()
        return RequestTrace(parent, ids, self._clock, self._sink, propagates=self._propagates)


def _end(trace: RequestTrace, scope: Scope) -> None:
    attributes, route = trace.attributes, _route(scope)
    attributes[names.METHOD] = scope["method"]
    attributes[names.PATH] = scope["path"]
    if route:
        attributes[names.ROUTE] = route
    context = scope.get("context")
    if context is not None:
        attributes[names.REQUEST_ID] = context.request_id
        if context.principal.key_id:
            attributes[names.KEY] = context.principal.key_id
            attributes[names.USER] = context.principal.user
    status = attributes.get(names.STATUS)
    failed = status is None or (isinstance(status, int) and status >= 500)
    if failed:
        attributes.setdefault(names.ERROR, str(status or "disconnected"))
    trace.end(f"{scope['method']} {route}".strip(), failed=failed)


def _route(scope: Scope) -> str:
    """The path without what differs from call to call; empty for what is no route."""
    path: str = scope["path"]
    given: dict[str, str] = scope.get("path_params") or {}
    if given.get("path") is not None:
        return ""
    for name, value in given.items():
        if value:
            path = path.replace(str(value), f"{{{name}}}", 1)
    return path
