"""The section ``server``: where it listens, and what it waits for."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from adapters.settings import ByteSize, Duration, PositiveDuration
from gateway.policy.sections.console import ConsoleSettings
from gateway.policy.sections.cors import CorsSettings
from gateway.policy.sections.telemetry import MetricsListener, OtelSettings
from gateway.policy.syntax.scalars import ListenAddress

_Positive = Annotated[int, msgspec.Meta(ge=1)]


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate of your own."""

    cert: str
    """A PEM file: the certificate, then its chain."""
    key: str
    """A PEM file: the private key."""


class TlsNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the local authority, as with auto, for more names."""

    names: tuple[str, ...]
    """Names and addresses by which clients reach this machine, beside its own."""


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``server.clients``: what is waited for a client, and kept for it meanwhile."""

    first_head: PositiveDuration = 20.0
    """An unused connection on which no key was shown is closed after so long."""
    head: PositiveDuration = 20.0
    """A request's head, from its first byte to its last, takes no longer; else 408."""
    body: PositiveDuration = 30.0
    """A request's body takes no longer than this and one second for each rate bytes of it; else
    408."""
    write: PositiveDuration = 30.0
    """A client that takes less than rate bytes a second of what waits for it, for so long, is
    given up: its call is stopped, and what was used is charged."""
    rate: Annotated[ByteSize, msgspec.Meta(ge=1)] = 1024
    """Bytes a second that a client must send of a body and take of an answer."""
    idle: PositiveDuration = 75.0
    """An unused connection of a client that has shown a key is closed after so long."""
    without_key: _Positive = 256
    """Connections on which no key was shown; past it the oldest is closed."""
    failed_keys: _Positive = 60
    """Requests without a good key that one address may send a minute; more get 429."""
    per_key: Annotated[ByteSize, msgspec.Meta(ge=1000)] = 128 * 1024 * 1024
    """Unfinished uploads and unread answers of one key together; one alone may be larger."""
    in_all: Annotated[ByteSize, msgspec.Meta(ge=1_000_000)] = 512 * 1024 * 1024
    """The same of all keys together."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``server``; a change of it takes a restart."""

    listen: ListenAddress = ("127.0.0.1", 8443)
    """host:port that the gateway binds."""
    tls: Literal["auto", "off"] | TlsFiles | TlsNames = "auto"
    """auto: a local CA made once; off: behind a proxy that ends TLS; or your own files."""
    data: str = ".spillgate"
    """Folder for the certificate authority, keys and embedded stores."""
    max_body: Annotated[ByteSize, msgspec.Meta(ge=1000)] = 32 * 1024 * 1024
    """A larger request body is refused with 413."""
    max_header: Annotated[ByteSize, msgspec.Meta(ge=1000)] = 64 * 1024
    """Larger request headers are refused with 431."""
    drain: Duration = 30.0
    """On SIGTERM, how long calls under way may take to end."""
    stream_comment: Duration = 15.0
    """While a stream's call waits, a comment is sent each time so much has passed; 0: none, and
    every failure before the first piece has a status of its own."""
    clients: ClientSettings = ClientSettings()
    """What is waited for a client, and kept for it meanwhile."""
    access_log: bool = True
    """One JSON line on standard error for each call that ended."""
    cors: CorsSettings | None = None
    """Pages of browsers that may call; left out: none."""
    log: Literal["text", "json"] = "text"
    """How the other lines are written: json has level, logger, message and request id in fields."""
    metrics: Literal["public", "key"] | MetricsListener = "public"
    """Who may read /metrics: everybody; key: admin keys; or whoever reaches an address of its
    own."""
    console: ConsoleSettings = ConsoleSettings()
    """Who else may sign in to the pages for browsers."""
    otel: OtelSettings | None = None
    """Traces and metrics to an OTLP receiver; left out: none."""
