"""YAML -> a whole ``Policy``, or every problem that keeps it from being one.

``load_policy`` takes a file or a folder, ``read_policy_text`` a text; ``load_with_places`` also
says where each key stands, for the warnings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec

from adapters import BrokenKind, known_kinds, load_kind
from adapters.base import AdapterClass
from adapters.settings import Secret
from adapters.types import Capabilities
from gateway.policy.limit_section import check_limits
from gateway.policy.model import (
    BackendCommon,
    BackendSpec,
    ModelSpec,
    Plan,
    Policy,
    RequestTags,
    Route,
    WarmRule,
)
from gateway.policy.schedule_section import check_schedules
from gateway.policy.sections.aliases import read_aliases, without_aliases
from gateway.policy.sections.commitments import Commitment
from gateway.policy.sections.endpoints import without_regions
from gateway.policy.sections.keys import KeySettings
from gateway.policy.sections.limits import GatewayLimits
from gateway.policy.sections.price import DatedPrices, PriceList
from gateway.policy.sections.price_dates import check_overlaps, dated
from gateway.policy.sections.price_tables import listed
from gateway.policy.sections.reconcile import Reconcile
from gateway.policy.sections.regions import CallerRegionSettings
from gateway.policy.sections.reserve import Reserve
from gateway.policy.sections.reserve_checks import check_reserve
from gateway.policy.sections.schedules import ScheduleSpec
from gateway.policy.sections.server import ServerSettings
from gateway.policy.sections.store import FileSettings, JobSettings, StoreSettings
from gateway.policy.sections.webhooks import AlertSettings, WebhookSettings
from gateway.policy.syntax.documents import read_path, read_text
from gateway.policy.syntax.findings import BAD, Findings
from gateway.policy.syntax.nodes import ListNode, MapEntry, MapNode, ScalarNode, written
from gateway.policy.syntax.problems import (
    Mark,
    PolicyError,
    Problem,
    join,
    redacted,
    shortened,
)
from gateway.policy.syntax.scalars import BackendName, Name
from gateway.policy.syntax.schema import check_keys, make, read, read_fields
from gateway.policy.syntax.shapes import UnreadShape, fields_of, shape_of

__all__ = [
    "Document",
    "Kinds",
    "Places",
    "PolicyError",
    "Problem",
    "load_policy",
    "load_with_places",
    "read_policy_text",
    "read_with_places",
]

Places = Mapping[str, Mark]
"""Key path -> where the key stands."""
_SECTIONS = ("backends", "models", "prices", "commitments", "plans")
"""Those whose keys are names."""

_SPEAK_OPENAI = frozenset(
    ("vllm", "sglang", "tgi", "llama.cpp", "llamacpp", "llama-cpp", "ollama", "litellm", "lmstudio")
)
"""Servers that one may look for among the kinds."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The top level of a policy, as it is written."""

    version: Literal[1]
    """Of the language of policies: 1."""
    server: ServerSettings = ServerSettings()
    """Where the gateway listens."""
    store: StoreSettings = StoreSettings()
    """Where counters and rows are kept."""
    backends: dict[Name, Annotated[Any, UnreadShape()]] = {}
    """Name -> who can run a call: ``kind``, the common keys and those of the kind."""
    models: dict[Name, ModelSpec] = {}
    """Name, as callers give it -> what it does and who serves it, or ``alias``: the model of which
    it is another name."""
    prices: dict[Name, PriceList] = {}
    """Name -> what a backend charges, or a list of what it charged and charges."""
    regions: CallerRegionSettings | None = None
    """How it is known where callers are; left out: nobody says."""
    routes: tuple[Route, ...] = ()
    """First match wins; one that matches every call is added where the last has conditions."""
    warm_pool: dict[BackendName, WarmRule] = {}
    """Backend -> when to keep it warm."""
    commitments: dict[Name, Commitment] = {}
    """Name -> capacity that is paid for whether or not anybody calls."""
    reserve: dict[Name, Reserve] = {}
    """Name -> instances that are rented by the hour, as many as a plan advises."""
    reconcile: Reconcile | None = None
    """When platforms' bills are put beside the ledger; left out: when somebody asks."""
    plans: dict[Name, Plan] = {}
    """Name -> limits of each user on the plan."""
    limits: GatewayLimits = GatewayLimits()
    """Of the whole gateway, and of any part of it."""
    keys: KeySettings = KeySettings()
    """Which keys may be made, and when it is told that they end."""
    tags: RequestTags = RequestTags()
    """Which tags a request may give its call."""
    jobs: JobSettings = JobSettings()
    """Work that nobody waits for on a connection."""
    files: FileSettings = FileSettings()
    """What callers store here."""
    schedules: dict[Name, ScheduleSpec] = {}
    """Name -> a job or a batch that begins by the clock."""
    webhooks: WebhookSettings = WebhookSettings()
    """Who is told of what by POST."""
    alerts: AlertSettings = AlertSettings()
    """Of which limits it is told how much is spent."""


class Kinds(msgspec.Struct, frozen=True):
    """Where the kinds of backends come from; a test gives its own."""

    load: Callable[[str], AdapterClass] = load_kind
    """Raises KeyError for an unknown kind."""
    known: Callable[[], list[str]] = known_kinds


INSTALLED = Kinds()


def load_policy(path: Path, environ: Mapping[str, str], *, kinds: Kinds = INSTALLED) -> Policy:
    """The policy of a file, or of every ``*.yaml`` and ``*.yml`` of a folder, merged.

    Secrets written ``${NAME}`` are taken from ``environ``. Raises PolicyError with every
    problem found.
    """
    return load_with_places(path, environ, kinds=kinds)[0]


def load_with_places(
    path: Path, environ: Mapping[str, str], *, kinds: Kinds = INSTALLED
) -> tuple[Policy, Places]:
    """As ``load_policy``, with the place in the files of every key path. Raises PolicyError."""
    document, problems = read_path(path)
    return _Reader(environ, kinds).policy(document, problems)


def read_policy_text(
    text: str,
    environ: Mapping[str, str],
    name: str = "policy.yaml",
    *,
    kinds: Kinds = INSTALLED,
) -> Policy:
    """As ``load_policy``, of a text; ``name`` stands for the file in problems."""
    return read_with_places(text, environ, name, kinds=kinds)[0]


def read_with_places(
    text: str,
    environ: Mapping[str, str],
    name: str = "policy.yaml",
    *,
    kinds: Kinds = INSTALLED,
) -> tuple[Policy, Places]:
    document, problems = read_text(text, name)
    return _Reader(environ, kinds).policy(document, problems)


class _Reader:
    """One reading of one document."""

    def __init__(self, environ: Mapping[str, str], kinds: Kinds) -> None:
        self._environ = environ
        self._kinds = kinds
        self._adapters: dict[str, AdapterClass] = {}

    def policy(self, document: MapNode, problems: Iterable[Problem]) -> tuple[Policy, Places]:
        whole, found = without_regions(document)
        document, aliases = without_aliases(whole)
        tables = listed(document)
        reading = Findings(self._environ, _names(document, tables))
        reading.problems.extend((*problems, *found))
        fields = fields_of(Document)
        check_keys(document, fields, "", reading)
        read_values = read_fields(document, fields, "", reading)
        values = {name: value for name, value in read_values.items() if value is not BAD}
        values["aliases"] = read_aliases(aliases, values.get("models", {}), reading)
        values["backends"] = backends = self._backends(document, reading)
        own = dated(values.get("prices", {}), reading)
        values["prices"] = _with_listed(own, backends.values(), tables)
        values["routes"] = _routes(document, values.get("routes", ()), tuple(backends), reading)
        check_overlaps(values.get("commitments", {}), reading)
        check_reserve(values, reading)
        check_limits(values, reading)
        check_schedules(values, reading)
        for name, model in values.get("models", {}).items():
            self._check_task(name, model, backends, reading)
        _check_larger(values.get("models", {}), reading)
        if reading.problems:
            raise PolicyError(redacted(p, reading.secrets) for p in reading.problems)
        policy = Policy(**{**values, "version": "", "document": written(whole)})
        return msgspec.structs.replace(policy, version=version_of(policy)), reading.places

    def _backends(self, document: MapNode, reading: Findings) -> dict[str, BackendSpec]:
        section = document.entries.get("backends")
        if section is None or not isinstance(section.value, MapNode):
            return {}
        specs = {
            name: self._backend(name, entry, reading)
            for name, entry in section.value.entries.items()
        }
        return {name: spec for name, spec in specs.items() if spec is not BAD}

    def _backend(self, name: str, entry: MapEntry, reading: Findings) -> Any:
        path, node = join("backends", name), entry.value
        if not isinstance(node, MapNode):
            return read(node, shape_of(dict[str, Any]), path, reading)
        kind = self._kind(node, path, reading)
        adapter = self._adapter(kind, node, path, reading) if kind else None
        common = _part(BackendCommon, node, path, reading)
        if kind is None or adapter is None:
            return BAD
        allowed = ["kind", *fields_of(adapter.Settings), *fields_of(BackendCommon)]
        check_keys(node, allowed, path, reading)
        settings = _part(adapter.Settings, node, path, reading)
        if common is BAD or settings is BAD:
            return BAD
        self._adapters[name] = adapter
        return BackendSpec(name=name, kind=kind, common=common, settings=settings)

    def _kind(self, node: MapNode, path: str, reading: Findings) -> str | None:
        where = join(path, "kind")
        entry = node.entries.get("kind")
        if entry is None:
            reading.note(node.mark, where, "is required", self._kinds.known())
            return None
        kind = read(entry.value, shape_of(str), where, reading)
        return None if kind is BAD else cast(str, kind)

    def _adapter(
        self, kind: str, node: MapNode, path: str, reading: Findings
    ) -> AdapterClass | None:
        mark, where = node.entries["kind"].value.mark, join(path, "kind")
        try:
            adapter = self._kinds.load(kind)
            fields_of(adapter.Settings)
        except KeyError:
            known = self._kinds.known()
            if kind.lower() in _SPEAK_OPENAI and "openai" in known:
                message = (
                    f"no kind {kind!r}: such a server speaks OpenAI's protocol, so write openai"
                )
                reading.note(mark, where, message, known)
            else:
                reading.note(mark, where, f"no kind {shortened(kind)!r}", known, kind)
        except (ImportError, AttributeError, TypeError) as error:
            named = "" if isinstance(error, BrokenKind) else f"{type(error).__name__}: "
            message = f"the kind {shortened(kind)!r} cannot be loaded: {named}{error}"
            reading.note(mark, where, message)
        else:
            return adapter
        return None

    def _check_task(
        self, name: str, model: ModelSpec, backends: Mapping[str, BackendSpec], reading: Findings
    ) -> None:
        """Where a kind says of the class what its backends can do, it must fit the model."""
        for index, backend in enumerate(model.backends):
            able = getattr(self._adapters.get(backend), "capabilities", None)
            if isinstance(able, Capabilities) and model.task not in able.tasks:
                path = f"{join('models', name)}.backends[{index}]"
                message = f"{backend} ({backends[backend].kind}) cannot do {model.task}"
                reading.note(reading.places[path], path, message, sorted(able.tasks))


def _names(document: MapNode, tables: Iterable[str]) -> dict[str, tuple[str, ...]]:
    sections = {name: document.entries.get(name) for name in _SECTIONS}
    names = {
        name: tuple(entry.value.entries)
        for name, entry in sections.items()
        if entry is not None and isinstance(entry.value, MapNode)
    }
    return {**names, "prices": (*names.get("prices", ()), *tables)}


def _with_listed(
    own: dict[str, DatedPrices], backends: Iterable[BackendSpec], tables: Mapping[str, DatedPrices]
) -> dict[str, DatedPrices]:
    """With those prices of the tables that a backend has; the policy's own go first."""
    taken = {spec.common.price or "" for spec in backends}
    return {**{name: tables[name] for name in tables if name in taken}, **own}


def _part(cls: type[msgspec.Struct], node: MapNode, path: str, reading: Findings) -> Any:
    return make(cls, read_fields(node, fields_of(cls), path, reading), node.mark, path, reading)


def _routes(
    document: MapNode, routes: tuple[Route, ...], backends: tuple[str, ...], reading: Findings
) -> tuple[Route, ...]:
    """With the last one that always matches."""
    _check_route_names(document, reading)
    if routes and matches_all(routes[-1]):
        return routes
    for index, route in enumerate(routes):
        if route.name == "default":
            path = f"routes[{index}].name"
            message = "the route called default must be the last and have no conditions"
            reading.note(reading.places[path], path, message)
    return (*routes, Route(name="default", use=backends))


def matches_all(route: Route) -> bool:
    """Whether a route has no condition."""
    when = route.when
    return not when.tags and all(
        getattr(when, name) is None for name in when.__struct_fields__ if name != "tags"
    )


def _check_route_names(document: MapNode, reading: Findings) -> None:
    section = document.entries.get("routes")
    first: dict[str, Mark] = {}
    items = section.value.items if section and isinstance(section.value, ListNode) else ()
    for index, item in enumerate(items):
        entry = item.entries.get("name") if isinstance(item, MapNode) else None
        if entry is None or not isinstance(entry.value, ScalarNode):
            continue
        name, mark = entry.value.text, entry.value.mark
        if name in first:
            message = f"a route of this name stands at {first[name]}"
            reading.note(mark, f"routes[{index}].name", message)
        first.setdefault(name, mark)


def _check_larger(models: Mapping[str, ModelSpec], reading: Findings) -> None:
    """A larger model does the same, and no way through larger ones comes back."""
    for name, model in models.items():
        if model.larger is None:
            continue
        path = join(join("models", name), "larger")
        larger = models[model.larger]
        if larger.task != model.task:
            message = f"{model.larger} does {larger.task}, and not {model.task}"
            reading.note(reading.places[path], path, message)
        elif name in _larger_ones(models, name):
            message = "a model cannot be larger than itself, nor than one that is larger than it"
            reading.note(reading.places[path], path, message)


def _larger_ones(models: Mapping[str, ModelSpec], name: str) -> list[str]:
    """Those that a call of the model may go on to, in turn; each once."""
    found: list[str] = []
    following = models[name].larger
    while following is not None and following not in found:
        found.append(following)
        following = models[following].larger
    return found


def version_of(policy: Policy) -> str:
    """Twelve hexadecimal digits of the SHA-256 of what the policy says.

    Two documents that mean the same have the same version, however they are laid out; a
    secret's value is no part of it.
    """
    plain = _canonical(msgspec.structs.replace(policy, version=""))
    del plain["document"]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _canonical(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _canonical(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    return "secret" if isinstance(value, Secret) else value
