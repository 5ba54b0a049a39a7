"""The policy: every value that the YAML can set, frozen. No I/O, no YAML here.

The field types are the schema: the reader walks them to validate a document, the JSON Schema
for editors is made from them, and a field's docstring is what an editor shows.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from adapters.settings import ByteSize, Duration, Scalar
from adapters.types import Task
from gateway.policy.scalars import (
    Condition,
    DateStr,
    Hours,
    LimitList,
    ListenAddress,
    NanoUsd,
    parse_condition,
)
from gateway.types import Limit, Priority


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cert: str
    """A PEM file: the certificate, then its chain."""
    key: str
    """A PEM file: the private key."""


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    listen: ListenAddress = ("127.0.0.1", 8443)
    """host:port that the gateway binds."""
    tls: Literal["auto", "off"] | TlsFiles = "auto"
    """auto: a local CA made once; off: behind a proxy that ends TLS; or your own files."""
    data: str = ".spillgate"
    """Folder for the certificate authority, keys and embedded stores."""
    max_body: ByteSize = 32 * 1024 * 1024
    """A larger request body is refused with 413."""
    max_header: ByteSize = 64 * 1024
    drain: Duration = 30.0
    """On SIGTERM, how long calls under way may take to end."""


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ledger: str = "sqlite:///.spillgate/ledger.db"
    """sqlite:///PATH."""
    shared: str = "memory://"
    """memory:// for one process, redis://HOST:PORT/DB for several."""
    timeout: Duration = 0.25
    """The longest a call waits for the shared store."""


class ColdStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prior for the seconds that a cold worker takes to start; learned from then on."""

    p50: Duration
    p95: Duration


class BackendCommon(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that a backend of any kind takes, beside those of its kind."""

    price: str | None = None
    """A name in ``prices``. Without one, calls cost nothing and are never held for."""
    cold_start: ColdStart | None = None
    """Left out: the backend is always warm while it is ready."""
    idle_timeout: Duration | None = None
    """How long a worker stays warm after its last call."""
    max_run: Duration = 600.0
    """The longest that one call may run there."""
    expect: Duration = 1.0
    """A prior for the seconds that one call runs; learned from then on."""
    concurrency: int | None = None
    """The most calls in flight there; left out: what the kind says of itself."""
    required: bool = False
    """/readyz answers 200 only while this backend is warm."""
    max_request: ByteSize | None = None
    """A larger body is not sent there; left out: the platform's own limit."""


class BackendSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A backend as the policy has it: what is common, and ``settings`` of its kind."""

    name: str
    kind: str
    common: BackendCommon
    settings: Any
    """An instance of the kind's ``Settings``."""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    task: Task
    backends: tuple[str, ...]
    """Names in ``backends``, in the order of preference."""
    slo: Duration = 10.0
    """The most queue and cold-start delay that a call should see."""


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backend charges. Dated, with a source; at least one of the rates.

    ``per_hour`` alone means reserved: the machine is paid for whether or not a call comes, so
    the router counts it as free and the ledger charges the share that a call used.
    """

    per_hour: NanoUsd | None = None
    per_second: NanoUsd | None = None
    per_call: NanoUsd | None = None
    per_million_input: NanoUsd | None = None
    per_million_output: NanoUsd | None = None
    bills: tuple[Literal["start", "run", "idle"], ...] = ("run",)
    """Which seconds of a worker ``per_second`` is charged for."""
    as_of: DateStr | None = None
    source: str = ""

    @property
    def reserved(self) -> bool:
        return self.per_hour is not None


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conditions of a route; all that are given must hold."""

    model: str | tuple[str, ...] | None = None
    task: Task | tuple[Task, ...] | None = None
    user: str | tuple[str, ...] | None = None
    plan: str | tuple[str, ...] | None = None
    priority: Priority | tuple[Priority, ...] | None = None
    tags: dict[str, str] | None = None
    stream: bool | None = None
    requests_per_day: Condition | None = None
    """Calls of the model in the last 24 hours, such as "< 1000"."""
    body: (
        Annotated[
            tuple[str, float],
            Scalar(
                parse=parse_condition,
                expects='a comparison of bytes such as "> 100000"',
                pattern=r"^(<|<=|>|>=|==)\s*\d+(\.\d+)?$",
            ),
        ]
        | None
    ) = None
    """Size of the request body."""


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First match wins. ``use`` narrows the model's own backends; a backend that the model does
    not list is never used."""

    name: str
    when: When = When()
    use: tuple[str, ...]
    order: Literal["cheapest", "fastest", "listed", "weighted"] = "cheapest"
    weights: dict[str, float] | None = None
    """For ``order: weighted``: backend -> share."""
    max_price: NanoUsd | None = None
    """A backend whose predicted price for the call is above this is not used."""
    slo: Duration | None = None
    """Instead of the model's."""


class WarmRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    keep: Literal["always", "learned", "none"] = "always"
    """always: pinged all through the hours; learned: only while, by the backend's own gaps, a
    next call is likely soon enough to be worth it; none: only woken ahead of the hours."""
    spare: int = 0
    """Warm workers to hold where the platform can be told so."""
    hours: Hours | None = None
    """When to keep it warm, such as "Mon-Fri 08:00-20:00" (UTC, or with a time zone's name at
    the end); left out: always."""
    ahead: Duration = 0.0
    """How long before the hours begin it is woken."""
    ping_every: Duration = 240.0


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    requests: LimitList = ()
    """Such as 60/minute; a list gives several windows."""
    concurrent: int | None = None
    gpu_seconds: LimitList = ()
    """Such as 600/day."""
    spend: LimitList = ()
    """Such as 5 USD/month."""

    def flat(self) -> tuple[Limit, ...]:
        """All bounds as one tuple, in the order in which they are checked."""
        concurrent = () if self.concurrent is None else (Limit("concurrent", self.concurrent),)
        return (*self.requests, *concurrent, *self.gpu_seconds, *self.spend)


class Plan(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of each user who is on the plan."""

    per_key: Limits | None = None
    """Of each key on the plan."""
    shared: Limits | None = None
    """Of all users of the plan together."""
    priority: Priority = "normal"
    """Of calls that ask for none; a caller may ask for less, not for more."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A whole, validated policy: every name that it refers to exists."""

    version: str
    """Twelve hexadecimal digits of the content's SHA-256; secrets are not part of it."""
    server: Server = Server()
    store: Store = Store()
    backends: dict[str, BackendSpec] = {}
    models: dict[str, ModelSpec] = {}
    prices: dict[str, Price] = {}
    routes: tuple[Route, ...] = ()
    """The last one always matches: where the document ends without such a route, one named
    ``default`` that uses each model's own backends, cheapest first, is added."""
    warm_pool: dict[str, WarmRule] = {}
    plans: dict[str, Plan] = {}
    limits: Limits = Limits()
    """Of the whole gateway."""
