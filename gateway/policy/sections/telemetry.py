"""``server.metrics`` and ``server.otel``: who may read what is counted, and who is told of it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from adapters.settings import Duration, HeaderName, HttpUrl, SecretStr
from gateway.policy.syntax.scalars import ListenAddress


class MetricsListener(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address of its own for /metrics, without TLS and without keys."""

    listen: ListenAddress
    """host:port; /metrics is not at the gateway's own address then."""


class OtelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenTelemetry; needs the extra ``otel``."""

    endpoint: HttpUrl
    """An OTLP receiver's base URL, such as http://127.0.0.1:4318; /v1/traces and /v1/metrics are
    added."""
    headers: dict[HeaderName, SecretStr] = msgspec.field(default_factory=dict)
    """Sent along, each from the environment."""
    sample: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """Of the traces that begin here, the share that is kept; what a caller's traceparent says of
    its own is followed."""
    propagate: bool = True
    """Whether backends behind HTTP are told of a call's trace, by traceparent."""
    metrics_every: Duration = 60.0
    """How often metrics are sent; 0: never."""
    ca_file: str | None = None
    """PEM file of the authority that signed the receiver's certificate; left out: the system's."""
