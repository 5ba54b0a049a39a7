"""Spans and metrics to an OTLP receiver, over HTTP, by OpenTelemetry's own packages.

Threads of theirs, and one of ours, do the sending: a receiver that is slow or away costs no call
anything, and what it does not take is lost. Source:
https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import importlib.metadata
import logging
import threading
import time
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from gateway.metrics import Registry
from gateway.policy.sections.telemetry import OtelSettings
from gateway.telemetry import names
from gateway.telemetry.metric_points import points_of
from gateway.telemetry.spans import EndedCall, Span
from gateway.telemetry.trace_context import TraceContext

log = logging.getLogger("spillgate")

_SENDS_WITHIN_S = 5.0
_ENDS_WITHIN_S = 3.0
_BILLION = 1_000_000_000
_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
_SECONDS = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
_FIRST_SECONDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)
"""Buckets as the conventions advise them."""


class OtlpSink:
    """Takes what ends on the event loop, and sends it from threads. ``registry`` is what
    ``/metrics`` shows; ``process`` tells this process from others that serve with it."""

    def __init__(self, settings: OtelSettings, registry: Registry, process: str) -> None:
        self._settings = settings
        self._registry = registry
        self._began_ns = time.time_ns()
        version = importlib.metadata.version("spillgate")
        self._resource = Resource.create(
            {
                "service.name": "spillgate",
                "service.version": version,
                "service.instance.id": process,
            }
        )
        self._scope = InstrumentationScope("spillgate", version)
        url, headers = settings.endpoint.rstrip("/"), _headers(settings)
        self._spans = BatchSpanProcessor(
            OTLPSpanExporter(
                f"{url}/v1/traces",
                certificate_file=settings.ca_file,
                headers=headers,
                timeout=_SENDS_WITHIN_S,
            ),
            export_timeout_millis=_SENDS_WITHIN_S * 1000,
        )
        self._metrics = OTLPMetricExporter(
            f"{url}/v1/metrics",
            certificate_file=settings.ca_file,
            headers=headers,
            timeout=_SENDS_WITHIN_S,
        )
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider(
            [self._reader], resource=self._resource, shutdown_on_exit=False
        )
        self._seconds, self._first, self._tokens = self._instruments()
        self._ending = threading.Event()
        self._sender = threading.Thread(target=self._send, name="otlp-metrics", daemon=True)
        if settings.metrics_every:
            self._sender.start()

    def _instruments(self) -> tuple[Histogram, Histogram, Histogram]:
        meter = self._provider.get_meter("spillgate.calls", self._scope.version)
        make = meter.create_histogram
        return (
            make(names.REQUEST_SECONDS, "s", explicit_bucket_boundaries_advisory=_SECONDS),
            make(
                names.FIRST_TOKEN_SECONDS, "s", explicit_bucket_boundaries_advisory=_FIRST_SECONDS
            ),
            make(names.TOKENS, "{token}", explicit_bucket_boundaries_advisory=_TOKENS),
        )

    # --- from the event loop ---------------------------------------------------------------------

    def span(self, span: Span) -> None:
        """As ``TraceSink`` has it."""
        above = span.above
        own = _context(above, span.span_id, remote=False)
        parent = _context(above, above.span_id, remote=True) if above.span_id else None
        self._spans.on_end(
            ReadableSpan(
                span.name,
                own,
                parent,
                self._resource,
                span.attributes,
                kind=_KINDS[span.kind],
                status=Status(StatusCode.ERROR) if span.failed else Status(),
                start_time=round(span.start * _BILLION),
                end_time=round(span.end * _BILLION),
                instrumentation_scope=self._scope,
            )
        )

    def call(self, ended: EndedCall) -> None:
        """As ``TraceSink`` has it."""
        common = {
            names.OPERATION: ended.operation,
            names.PROVIDER: names.OURS,
            names.REQUEST_MODEL: ended.model,
        }
        labels = {**common, names.ERROR: ended.error} if ended.error else common
        self._seconds.record(ended.seconds, labels)
        if ended.first_piece_s is not None:
            self._first.record(ended.first_piece_s, common)
        for kind, count in (("input", ended.input_tokens), ("output", ended.output_tokens)):
            if count:
                self._tokens.record(count, {**common, names.TOKEN_TYPE: kind})

    # --- the metrics' thread ---------------------------------------------------------------------

    def _send(self) -> None:
        while not self._ending.wait(self._settings.metrics_every):
            self.send_metrics()

    def send_metrics(self) -> None:
        """All that is counted, at this instant; what is not taken is logged."""
        try:
            self._metrics.export(self._data(), timeout_millis=_SENDS_WITHIN_S * 1000)
        except Exception as error:  # the next time may be better, and the thread has to be there
            log.warning("metrics could not be sent by OTLP: %r", error)

    def _data(self) -> MetricsData:
        shown = points_of(self._registry.collect(), self._began_ns, time.time_ns())
        scopes = [ScopeMetrics(self._scope, shown, "")]
        recorded = self._reader.get_metrics_data()
        for each in () if recorded is None else recorded.resource_metrics:
            scopes.extend(each.scope_metrics)
        return MetricsData([ResourceMetrics(self._resource, scopes, "")])

    def close(self) -> None:
        """Sends what waits, for at most some seconds."""
        self._ending.set()
        if self._settings.metrics_every:
            last = threading.Thread(target=self.send_metrics, daemon=True)
            last.start()
            last.join(_ENDS_WITHIN_S)
        spans = threading.Thread(target=self._spans.shutdown, daemon=True)
        spans.start()
        spans.join(_ENDS_WITHIN_S)


def _headers(settings: OtelSettings) -> Mapping[str, str]:
    return {name.lower(): value.reveal() for name, value in settings.headers.items()}


def _context(above: TraceContext, span_id: str, *, remote: bool) -> SpanContext:
    state = TraceState.from_header([above.state]) if above.state else None
    return SpanContext(
        int(above.trace_id, 16), int(span_id, 16), remote, TraceFlags(int(above.sampled)), state
    )
