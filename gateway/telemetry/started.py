"""Telemetry of one gateway, from its start to its end; next to nothing where none is asked for."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from types import TracebackType

from gateway.api.routes import Answers
from gateway.calls.dispatcher import Dispatcher
from gateway.policy.model import Policy
from gateway.policy.sections.telemetry import MetricsListener
from gateway.service import Gateway


def dispatcher_of(policy: Policy) -> type[Dispatcher]:
    """One whose calls are traced, where the policy asks for it."""
    if policy.server.otel is None:
        return Dispatcher
    # Imported here because a gateway that is not traced must not pay for it.
    from gateway.telemetry.calls import TracedDispatcher

    return TracedDispatcher


class Telemetry:
    """Entered when the gateway runs, left when it has ended."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._open = contextlib.AsyncExitStack()

    def around(self, app: Answers) -> Answers:
        """The application, traced where the policy asks for it."""
        settings, gateway = self._gateway.active.policy.server.otel, self._gateway
        if settings is None:
            return app
        # Imported here because OpenTelemetry is an extra.
        from gateway.telemetry.middleware import TracingMiddleware
        from gateway.telemetry.otlp import OtlpSink
        from gateway.telemetry.trace_context import TraceIds

        process = f"{socket.gethostname()}:{os.getpid()}"
        sink = OtlpSink(settings, gateway.metrics.registry, process)
        self._open.callback(sink.close)
        ids = TraceIds(random.Random(os.urandom(16)), settings.sample)
        return TracingMiddleware(app, ids, gateway.clock, sink, propagates=settings.propagate)

    async def __aenter__(self) -> None:
        listener = self._gateway.active.policy.server.metrics
        if isinstance(listener, MetricsListener):
            # Imported here because metrics seldom have an address of their own.
            from gateway.telemetry.scrape_port import scrape_port

            await self._open.enter_async_context(scrape_port(self._gateway, listener.listen))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()
