"""The policy: every value that the YAML can set, frozen. No I/O, no YAML here.

The field types are the schema: the reader walks them to validate a document, the JSON Schema
for editors is made from them, and a field's docstring is what an editor shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from adapters.settings import ByteSize, Duration, Scalar, SettingError, UrlPath
from adapters.types import ModelTask
from gateway.policy.sections.commitments import Commitment
from gateway.policy.sections.hedge import HedgeSettings
from gateway.policy.sections.keys import KeySettings
from gateway.policy.sections.limits import GatewayLimits, Limits
from gateway.policy.sections.model_names import Alias
from gateway.policy.sections.price import DatedPrices
from gateway.policy.sections.reconcile import Reconcile
from gateway.policy.sections.regions import CallerRegionSettings
from gateway.policy.sections.reserve import Reserve
from gateway.policy.sections.schedules import ScheduleSpec
from gateway.policy.sections.server import ServerSettings
from gateway.policy.sections.store import FileSettings, JobSettings, StoreSettings
from gateway.policy.sections.tokens import TokensPerPart
from gateway.policy.sections.webhooks import AlertSettings, WebhookSettings
from gateway.policy.syntax.scalars import (
    BackendName,
    Condition,
    Hours,
    ModelName,
    Name,
    NanoUsd,
    PriceName,
    parse_condition,
)
from gateway.types import OWN_TAGS, Priority

RepeatRule = Literal["auto", "always", "never"]
RepeatableFailure = Literal[
    "unreachable", "overloaded", "loading", "not_started", "credential", "quota", "gone",
    "too_large", "context_length_exceeded", "unsupported", "invalid", "failed", "malformed",
    "worker_died", "timeout", "ambiguous", "truncated",
]  # fmt: skip
"""Failures after which another backend may be asked, by the names that errors and metrics have."""

Ability = Literal["image", "audio", "video", "file", "tools", "response_format"]
"""What a call may bring, or ask for, that not every model can do."""
Positive = Annotated[int, msgspec.Meta(ge=1)]
BackendNames = Annotated[tuple[BackendName, ...], msgspec.Meta(min_length=1)]


AnswerBound = Annotated[Duration, msgspec.Meta(gt=0)] | Literal["learned", "none"]


class ColdStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prior for the seconds that a cold worker takes to start; learned from then on."""

    p50: Duration
    """Half of the starts take no longer."""
    p95: Duration
    """19 of 20 starts take no longer."""

    def __post_init__(self) -> None:
        if self.p50 > self.p95:
            raise ValueError("p50 must not be above p95")


IdlePayer = Literal["overhead", "to_cause", "by_use"]
StartPayer = Literal["to_cause", "overhead"]


class BackendCommon(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that a backend of any kind takes, beside those of its kind."""

    price: PriceName | None = None
    """A name in ``prices``, or in a table that comes with the gateway, such as
    list/runpod/a100-80gb. Without one, calls cost nothing and are never held for."""
    cold_start: ColdStart | None = None
    """Left out: the backend is always warm while it is ready."""
    idle_timeout: Duration | None = None
    """How long a worker stays warm after its last call."""
    idle_paid_by: IdlePayer = "overhead"
    """Who is charged for the seconds that a platform keeps a worker after a call, where the price
    bills them. overhead: the user system:idle; to_cause: the user of that call; by_use: the last
    users, by the seconds of their calls."""
    start_paid_by: StartPayer = "to_cause"
    """Who is charged for a cold start, where the price bills it. to_cause: the user of the call
    that waited for it; overhead: the user system:idle."""
    max_run: Annotated[Duration, msgspec.Meta(gt=0)] = 600.0
    """The longest that one call may run there."""
    expect: Duration = 1.0
    """A prior for the seconds that one call runs; learned from then on."""
    concurrency: Positive | None = None
    """The most calls in flight there; left out: what the kind says of itself."""
    max_queue: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Calls that may wait there, those of others too where an engine counts them; more go
    elsewhere. Left out: 64 for each call that it runs at once."""
    region: Name | None = None
    """Where it runs, as routes name it; left out: nobody says."""
    return_after: Duration = 60.0
    """Of a backend with a region: after an outage it is sent calls that others can take once it
    was well for so long."""
    required: bool = False
    """/readyz answers 200 only while this backend is warm."""
    max_request: ByteSize | None = None
    """A larger body is not sent there; left out: the platform's own limit."""
    first_token: AnswerBound = "learned"  # noqa: S105 - of a stream
    """A stream that has brought no token by then has failed, and another backend is asked.
    learned: where the backend is silent for far longer than its answers took, and another one is
    well; none: only the kind's own time-outs count."""
    answer: AnswerBound = "learned"
    """The same of a whole answer that is not here so long after its run began."""
    repeat: RepeatRule = "auto"
    """Whether an idempotent call that may have run here is asked of another backend. auto: unless
    that could be billed twice, as it is at a price by the second or by the call."""
    retry_budget: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    """Calls that are sent here after a failure, here or elsewhere, in percent of those that come
    here first, in the last minute and on all routes together; ten a minute are always allowed. Left
    out: no bound."""
    output_bound: Literal["max_tokens", "max_completion_tokens", "none"] = "max_tokens"
    """The field in which a call that bounds no answer itself is given its bound, where the price
    is by tokens and a budget has to last for it. none: it is sent as it came."""
    context: Positive | None = None
    """Tokens that the model takes here; a call that was too long elsewhere goes on to where more is
    taken, and one whose prompt is probably longer is sent elsewhere first."""
    takes: frozenset[Ability] | None = None
    """What a call may bring beside text, or ask for; one that needs more is sent elsewhere. Left
    out: nobody says, so it is sent whatever it brings."""


class BackendSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A backend as the policy has it: what is common, and ``settings`` of its kind."""

    name: str
    kind: str
    common: BackendCommon
    settings: Any
    """An instance of the kind's ``Settings``."""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that callers may name."""

    task: ModelTask
    """What it does: the routes of the API on which it answers."""
    backends: BackendNames
    """Names in ``backends``, in the order of preference."""
    slo: Duration = 10.0
    """The most queue and cold-start delay that a call should see."""
    max_wait: Annotated[Duration, msgspec.Meta(gt=0)] | None = None
    """The longest that a call waits in line, which is no part of its run; left out: as long as the
    longest run that any of its backends allows, and no less than ``slo``."""
    idempotent: bool | None = None
    """To run a call twice does no harm but cost. Left out: so for chat, completions and embeddings,
    not for infer."""
    larger: ModelName | None = None
    """A call that was too long for this model goes on to that one, and is charged as its call."""
    max_output_tokens: Positive = 4096
    """Held for, at a price by tokens, when a call does not say how many it may produce; a caller
    with a budget is given no more then, and less where the budget does not reach."""
    tokens_per: TokensPerPart = TokensPerPart()
    """What is held for the parts of a request whose bytes do not show their tokens."""
    max_images: Positive = 4
    """Held for, at a price by the image: how many a call may make that does not say (``n``)."""
    cap_images: bool = False
    """A call that asks for more than ``max_images`` is refused."""
    max_audio: Annotated[Duration, msgspec.Meta(gt=0)] = 600.0
    """Held for, at a price by the second of sound: how much a call may bring or make."""
    path: UrlPath | None = None
    """Of ``task: other``: a request there is a call of the model, and goes to the same path of its
    backend as it came. A route of the gateway's own goes first."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    """Of ``task: other``: of such requests. Models with one path have methods of their own."""

    @property
    def declared(self) -> tuple[str, str | None]:
        """Its method and its path."""
        return self.method, self.path

    def __post_init__(self) -> None:
        if self.method != "POST" and self.path is None:
            raise SettingError(("method",), "is for task: other, and its path")
        if (self.path is None) is (self.task == "other"):
            raise SettingError(("path",), "is for task: other, which needs one such as /v1/ocr")


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conditions of a route; all that are given must hold."""

    model: str | tuple[str, ...] | None = None
    """One name in ``models`` or a list of them."""
    task: ModelTask | tuple[ModelTask, ...] | None = None
    """One task or a list of them."""
    user: str | tuple[str, ...] | None = None
    """Whose key it is: one user or a list of them."""
    plan: str | tuple[str, ...] | None = None
    """The plan of the key: one or a list of them."""
    priority: Priority | tuple[Priority, ...] | None = None
    """What the call asks for, or its plan gives."""
    tags: dict[str, str] | None = None
    """Each of these tags of the key must have this value."""
    stream: bool | None = None
    """Whether the answer is to be streamed."""
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


class Retries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the repetitions on a route."""

    attempts: Annotated[int, msgspec.Meta(ge=1, le=8)] = 8
    """Times that one call is asked of a backend, the first one included."""
    on: tuple[RepeatableFailure, ...] | None = None
    """Failures after which it goes on; left out: every one after which it may."""
    budget: Annotated[float, msgspec.Meta(ge=0, le=100)] = 20.0
    """Repetitions in percent of the calls of the last minute; ten a minute are always allowed."""


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First match wins. ``use`` narrows the model's own backends; a backend that the model does
    not list is never used."""

    name: Name
    """Shown in every decision that the route made."""
    when: When = When()
    """Left out: it matches every call."""
    use: BackendNames
    """Names in ``backends``."""
    order: Literal["cheapest", "fastest", "listed", "weighted"] = "cheapest"
    """Which of them is asked first."""
    regions: tuple[Name, ...] = ()
    """Only backends that run in one of these are used, whatever fails: what a call brings never
    leaves them. Left out: wherever they run."""
    weights: dict[BackendName, Annotated[float, msgspec.Meta(ge=0)]] | None = None
    """For ``order: weighted``: backend -> share."""
    max_price: NanoUsd | None = None
    """A backend whose predicted price for the call is above this is not used."""
    slo: Duration | None = None
    """Instead of the model's."""
    first_token: AnswerBound | None = None
    """Instead of the backend's own."""
    answer: AnswerBound | None = None
    """Instead of the backend's own."""
    idempotent: bool | None = None
    """Instead of the model's own."""
    repeat: RepeatRule | None = None
    """Instead of the backend's own."""
    retries: Retries | None = None
    """Left out: every backend of the route may be asked."""
    hedge: HedgeSettings | None = None
    """Left out: a call is at one backend at a time."""
    on_disconnect: Literal["cancel", "finish"] = "cancel"
    """What becomes of a call whose client hangs up. cancel: it is stopped, and what was used is
    charged; finish: it runs to its end, and is charged whole."""

    def __post_init__(self) -> None:
        if self.order == "weighted" and not any((self.weights or {}).values()):
            raise ValueError("order: weighted needs weights, of which one at least is above 0")


class WarmRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one backend is kept warm."""

    keep: Literal["always", "learned", "none"] = "always"
    """always: pinged all through the hours; learned: only while, by the backend's own gaps, a
    next call is likely soon enough to be worth it; none: only woken ahead of the hours."""
    spare: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Warm workers to hold where the platform can be told so."""
    hours: Hours | None = None
    """When to keep it warm, such as "Mon-Fri 08:00-20:00" (UTC, or with a time zone's name at
    the end); left out: always."""
    ahead: Duration = 0.0
    """How long before the hours begin it is woken."""
    ping_every: Annotated[Duration, msgspec.Meta(gt=0)] = 240.0
    """Shorter than the platform's idle time-out."""
    cold_start_worth: NanoUsd = 60_000_000
    """For ``keep: learned``: the dollars that one cold start seen by a user is worth to you."""
    plan: Literal["off", "observe", "act"] = "off"
    """observe: what a plan of the workers would keep is shown and nobody is told; act: the platform
    is told, between ``spare`` and ``most``, in place of ``keep``."""
    most: Annotated[int, msgspec.Meta(ge=1)] = 10
    """For ``plan``: workers that it may keep at once."""
    calls_per_worker: Annotated[int, msgspec.Meta(ge=1)] = 1
    """For ``plan``: calls that a worker of the platform runs at once."""


class Plan(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of each user who is on the plan."""

    per_key: Limits | None = None
    """Of each key on the plan."""
    shared: Limits | None = None
    """Of all users of the plan together."""
    priority: Priority = "normal"
    """Of calls that ask for none; a caller may ask for less, not for more."""


class RequestTags(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``tags``: which tags a request may give its call, below those of its key."""

    take: tuple[Name, ...] = ()
    """Names that X-Spillgate-Tag may give. Empty: none."""
    user_as: Name | None = None
    """The tag that OpenAI's body field ``user`` gives; left out: none."""
    metadata: bool = False
    """Whether names in ``take`` are taken from OpenAI's body field ``metadata`` too."""
    values: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    """Of one tag that one key may give in a day (UTC); further ones are counted as "other"."""
    choose_routes: bool = False
    """Whether routes look at them too, and not at the key's own tags alone."""
    choose_limits: bool = False
    """Whether a request may give a tag of which ``limits.tags`` has limits, and so take from the
    limit of any value that it names."""

    def __post_init__(self) -> None:
        if self.metadata and not self.take:
            raise ValueError("metadata: true takes names in `take` alone, and there are none")
        for name in (*self.take, self.user_as):
            if name in OWN_TAGS:
                raise ValueError(f"{name} is the gateway's own tag: no request may give it")

    def places(self) -> Iterator[tuple[str, str]]:
        """(key path, name) of each tag that a request may give."""
        yield from ((f"tags.take[{index}]", name) for index, name in enumerate(self.take))
        if self.user_as is not None:
            yield "tags.user_as", self.user_as

    def any(self) -> bool:
        """Whether a request may give any."""
        return bool(self.take or self.user_as)

    @property
    def reads_bodies(self) -> bool:
        """Whether any may stand in a body."""
        return bool(self.user_as or (self.metadata and self.take))


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A whole, validated policy: every name that it refers to exists."""

    version: str
    """Twelve hexadecimal digits of the content's SHA-256; secrets are not part of it."""
    document: str = ""
    """YAML that says the same, without comments; a secret is its variable's name."""
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    backends: dict[str, BackendSpec] = {}
    models: dict[str, ModelSpec] = {}
    regions: CallerRegionSettings | None = None
    aliases: dict[str, Alias] = {}
    """Another name -> the model, or the versions of one, that are called by it."""
    prices: dict[str, DatedPrices] = {}
    routes: tuple[Route, ...] = ()
    """The last one always matches: where the document ends without such a route, one named
    ``default`` that uses each model's own backends, cheapest first, is added."""
    warm_pool: dict[str, WarmRule] = {}
    commitments: dict[str, Commitment] = {}
    reserve: dict[str, Reserve] = {}
    reconcile: Reconcile | None = None
    plans: dict[str, Plan] = {}
    limits: GatewayLimits = GatewayLimits()
    """Of the whole gateway, and of any part of it."""
    keys: KeySettings = KeySettings()
    tags: RequestTags = RequestTags()
    jobs: JobSettings = JobSettings()
    files: FileSettings = FileSettings()
    schedules: dict[str, ScheduleSpec] = {}
    webhooks: WebhookSettings = WebhookSettings()
    alerts: AlertSettings = AlertSettings()
