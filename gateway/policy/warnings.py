"""What a valid policy says in vain: rules that can never match, names that nobody uses."""

from __future__ import annotations

import datetime
import math
from collections.abc import Collection, Iterator, Mapping

import msgspec

from gateway.policy.limit_section import limits_in_vain
from gateway.policy.matching import choices
from gateway.policy.model import BackendSpec, ModelSpec, Policy, Route, When
from gateway.policy.sections.limits import Limits
from gateway.policy.sections.price import DatedPrices, epoch_s
from gateway.policy.sections.webhooks import AlertSettings, doubtful
from gateway.policy.syntax.problems import Mark, Problem, place_of, problem_at
from gateway.store_urls import Database

PRICE_DAYS = 180
"""A price that was looked up longer ago is worth another look."""

_NOTICEABLE_S = 0.1
_SETS = ("model", "task", "user", "plan", "priority", "stream")


def warnings_of(
    policy: Policy,
    *,
    today: datetime.date,
    places: Mapping[str, Mark] | None = None,
    plans_in_use: Collection[str] | None = None,
) -> tuple[Problem, ...]:
    """Every warning, in the order of the file.

    ``places`` are those of ``load_with_places``; without them a warning names its key path
    alone. Keys, not policies, name plans: unused ones are told only where ``plans_in_use`` is
    given.
    """
    found = [
        *_unreached(policy),
        *_contradictions(policy),
        *_idle_routes(policy),
        *_weights(policy),
        *_regions(policy),
        *_unused(policy, plans_in_use),
        *_old_prices(policy.prices, today),
        *_warm_pool(policy),
        *_pinged_too_late(policy),
        *_first_tokens(policy),
        *_keys(policy),
        *limits_in_vain(policy, today),
        *_listener(policy),
        *_databases(policy),
        *_kept_rows(policy),
        *doubtful(policy.webhooks, policy.alerts),
        *_alerts(policy),
        *_when_lost(policy),
    ]
    at = places or {}
    problems = [problem_at(place_of(path, at), path, message) for path, message in found]
    return tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column)))


_Found = Iterator[tuple[str, str]]
"""(key path, message)."""


def _unreached(policy: Policy) -> _Found:
    """Routes of which every call is taken by one before them."""
    for index, route in enumerate(policy.routes):
        for earlier in policy.routes[:index]:
            if covers(earlier.when, route.when):
                why = f"never reached: the route {earlier.name} takes each of its calls first"
                yield f"routes[{index}]", why
                break


def covers(first: When, second: When) -> bool:
    """Whether every call that meets ``second`` meets ``first``, by their conditions alone."""
    return (
        all(_narrower(getattr(second, name), getattr(first, name)) for name in _SETS)
        and (first.tags or {}).items() <= (second.tags or {}).items()
        and _inside(second.requests_per_day, first.requests_per_day)
        and _inside(second.body, first.body)
    )


def _narrower(inner: object, outer: object) -> bool:
    if outer is None:
        return True
    return inner is not None and set(choices(inner)) <= set(choices(outer))


class _Range(msgspec.Struct, frozen=True):
    low: int
    high: float

    def __contains__(self, other: object) -> bool:
        return (
            isinstance(other, _Range)
            and self.low <= other.low
            and (other.high <= self.high or other.empty)
        )

    @property
    def empty(self) -> bool:
        return self.low > self.high


def _range(condition: tuple[str, float]) -> _Range:
    """The counts that meet a comparison: whole numbers from 0, both ends included."""
    sign, bound = condition
    if sign == "==":
        whole = bound == math.floor(bound)
        return _Range(math.ceil(bound), bound if whole else -1)
    if sign in ("<", "<="):
        return _Range(0, math.ceil(bound) - 1 if sign == "<" else math.floor(bound))
    return _Range(math.floor(bound) + 1 if sign == ">" else math.ceil(bound), math.inf)


def _inside(inner: tuple[str, float] | None, outer: tuple[str, float] | None) -> bool:
    if outer is None:
        return True
    return inner is not None and _range(inner) in _range(outer)


def _contradictions(policy: Policy) -> _Found:
    for index, route in enumerate(policy.routes):
        path, when = f"routes[{index}].when", route.when
        for name in _SETS:
            if getattr(when, name) == ():
                yield f"{path}.{name}", "never matches: an empty list"
        for name in ("requests_per_day", "body"):
            condition = getattr(when, name)
            if condition is not None and _range(condition).empty:
                yield (
                    f"{path}.{name}",
                    f"never matches: no count is {condition[0]} {condition[1]:g}",
                )
        yield from _strangers(when.model, policy.models, f"{path}.model", "model")
        yield from _strangers(when.plan, policy.plans, f"{path}.plan", "plan")
        if when.task and not any(_may_take(when, n, m) for n, m in policy.models.items()):
            yield f"{path}.task", "never matches: no model that the route takes does this task"


def _strangers(asked: object, known: Mapping[str, object], path: str, what: str) -> _Found:
    if asked is None:
        return
    for name in choices(asked):
        if name not in known:
            yield path, f"never matches {name}: the policy has no such {what}"


def _may_take(when: When, name: str, model: ModelSpec) -> bool:
    return (when.model is None or name in choices(when.model)) and (
        when.task is None or model.task in choices(when.task)
    )


def _idle_routes(policy: Policy) -> _Found:
    """Routes that leave the calls of a model without any backend."""
    for index, route in enumerate(policy.routes):
        taken = [n for n, m in policy.models.items() if _may_take(route.when, n, m)]
        without = [n for n in taken if not _left(policy, route, n)]
        if not without:
            continue
        path, where = f"routes[{index}].use", " in its regions" if route.regions else ""
        if without == taken:
            yield path, f"no model that the route takes lists any of these backends{where}"
            continue
        for name in without:
            yield path, f"leaves the model {name} without a backend: it lists none of these{where}"


def _left(policy: Policy, route: Route, model: str) -> set[str]:
    """The backends that the route uses for calls of the model."""
    used = set(route.use) & set(policy.models[model].backends)
    regions = route.regions
    return {one for one in used if not regions or policy.backends[one].common.region in regions}


def _regions(policy: Policy) -> _Found:
    known = {spec.common.region for spec in policy.backends.values()}
    for index, route in enumerate(policy.routes):
        for region in route.regions:
            if region not in known:
                yield f"routes[{index}].regions", f"no backend runs in {region}"


def _weights(policy: Policy) -> _Found:
    for index, route in enumerate(policy.routes):
        path, weights = f"routes[{index}].weights", route.weights
        if weights is None:
            continue
        if route.order != "weighted":
            yield path, f"without effect: the order is {route.order}, not weighted"
            continue
        for name in weights:
            if name not in route.use:
                yield f"{path}.{name}", f"without effect: the route does not use {name}"
        for name in route.use:
            if name not in weights:
                yield path, f"{name} has no weight, so the route never chooses it"


def _unused(policy: Policy, plans_in_use: Collection[str] | None) -> _Found:
    served = {name for model in policy.models.values() for name in model.backends}
    routed = {name for route in policy.routes for name in route.use}
    charged = {spec.common.price for spec in policy.backends.values()}
    for name in policy.backends:
        if name not in served:
            yield f"backends.{name}", "no model lists it"
        elif name not in routed:
            yield f"backends.{name}", "no route uses it"
    for name in policy.prices:
        if name not in charged:
            yield f"prices.{name}", "no backend has this price"
    for name in policy.plans:
        if plans_in_use is not None and name not in plans_in_use:
            yield f"plans.{name}", "no key is on this plan"


def _old_prices(prices: Mapping[str, DatedPrices], today: datetime.date) -> _Found:
    now = epoch_s(today.isoformat())
    for name, dated in prices.items():
        price, path = dated.at(now), _path_at(name, dated, now)
        if price.until is not None and price.until <= today.isoformat():
            yield f"{path}.until", f"holds no more since {price.until}, and no price follows"
        if price.as_of is None:
            continue
        days = (today - datetime.date.fromisoformat(price.as_of)).days
        if days > PRICE_DAYS:
            yield f"{path}.as_of", f"looked up {days} days ago; see whether it still holds"
        elif days < 0:
            yield f"{path}.as_of", "lies in the future"


def _path_at(name: str, dated: DatedPrices, now: float) -> str:
    index = f"[{dated.index_at(now)}]" if len(dated.entries) > 1 else ""
    return f"prices.{name}{index}"


def _warm_pool(policy: Policy) -> _Found:
    for name in policy.warm_pool:
        if policy.backends[name].common.cold_start is None:
            yield (
                f"warm_pool.{name}",
                f"without effect: {name} has no cold_start, so it is always warm",
            )


def _pinged_too_late(policy: Policy) -> _Found:
    """Where a worker has gone to sleep before its next ping."""
    for name, rule in policy.warm_pool.items():
        spec = policy.backends[name]
        idle = spec.common.idle_timeout
        if idle is None:
            idle = getattr(spec.settings, "warm_for", None)
        # What the platform was told to keep stays without a ping.
        pinged = rule.keep != "none" and not rule.spare and rule.plan != "act"
        if idle is not None and pinged and rule.ping_every > idle:
            yield (
                f"warm_pool.{name}.ping_every",
                f"{rule.ping_every:g} s is longer than the {idle:g} s that {name} stays warm "
                "unused: it is cold again before each ping",
            )


def _first_tokens(policy: Policy) -> _Found:
    """Where a call has ended before its first token is late."""
    for name, spec in policy.backends.items():
        if spec.common.first_token is not None:
            yield from _never_late(spec, spec.common.first_token, f"backends.{name}.first_token")
    for index, route in enumerate(policy.routes):
        for name in route.use if route.first_token is not None else ():
            path = f"routes[{index}].first_token"
            yield from _never_late(policy.backends[name], route.first_token, path)


def _never_late(spec: BackendSpec, first_token: float | None, path: str) -> _Found:
    timeout = getattr(spec.settings, "timeout", None)
    if first_token is not None and isinstance(timeout, float) and timeout <= first_token:
        yield (
            path,
            f"without effect: the timeout of {spec.name}, {timeout:g} s, ends a call before "
            f"{first_token:g} s; give a longer timeout, or a shorter first_token",
        )


def _keys(policy: Policy) -> _Found:
    """Keys that nothing limits, or that can hardly be made."""
    if policy.keys.unlimited:
        yield "keys.unlimited", "a key may be made that nothing limits: who has it may spend it all"
    elif policy.plans and "default" not in policy.plans:
        yield "plans", "none is called default: a key takes a plan by name, or limits of its own"


def _listener(policy: Policy) -> _Found:
    host, _ = policy.server.listen
    if policy.server.tls == "auto" and host in ("0.0.0.0", "::"):
        yield (
            "server.listen",
            f"{host} is reached from elsewhere, but the certificate that is made is for localhost "
            "alone: listen on the name or address that clients use, or give files of your own",
        )


def _databases(policy: Policy) -> _Found:
    """Rows that pass a network in the clear, and counters that several gateways do not share."""
    store = policy.store
    for name, place in (("ledger", store.ledger), ("keys", store.keys)):
        if isinstance(place, Database) and place.sslmode in ("disable", "allow", "prefer"):
            far = [host for host, _ in place.hosts if not _is_near(host)]
            if far:
                yield (
                    f"store.{name}",
                    f"what passes to {', '.join(far)} may be read on the way: "
                    "sslmode=verify-full with sslrootcert, or sslmode=require",
                )
    if isinstance(store.ledger, Database) and store.shared is None:
        yield (
            "store.ledger",
            "memory:// of store.shared is each gateway's own: where several share the ledger, each "
            "allows every limit whole; give them a redis://",
        )


def _kept_rows(policy: Policy) -> _Found:
    """Rows that are lost, or that leave before others have what they are to be told of."""
    keep, webhooks = policy.store.keep, policy.webhooks
    if keep is None:
        return
    if keep.archive is None:
        yield (
            "store.keep",
            "rows are deleted when they are old enough, and no file has them: name a folder in "
            "store.keep.archive",
        )
    elif isinstance(policy.store.ledger, Database):
        yield (
            "store.keep.archive",
            "whichever of the gateways that share the ledger moves a day writes its file here: let "
            "all see one folder by this path, or the days lie on several machines, and one that "
            "breaks off waits for the machine that began it",
        )
    if webhooks.endpoints and webhooks.keep > keep.rows:
        yield (
            "store.keep.rows",
            "is shorter than webhooks.keep: an endpoint that is disabled for longer is not told of "
            "the rows that have left the ledger meanwhile",
        )


def _alerts(policy: Policy) -> _Found:
    """Limits that are to be told of, and that nobody has. Of keys' own limits a policy knows
    nothing."""
    if policy.alerts == AlertSettings():
        return
    plans = policy.plans.values()
    limits: dict[str, list[Limits]] = {
        "user": [*plans, *policy.limits.users.values()],
        "plan": [plan.shared for plan in plans if plan.shared is not None],
        "tag": [one for values in policy.limits.tags.values() for one in values.values()],
        "model": [*policy.limits.models.values()],
        "backend": [*policy.limits.backends.values()],
        "warm-pool": [policy.limits.warm_pool],
        "gateway": [policy.limits],
    }
    for index, kind in enumerate(policy.alerts.of):
        if kind != "key" and not any(one.spend or one.gpu_seconds for one in limits[kind]):
            yield f"alerts.of[{index}]", f"never told: no limit of spend or gpu_seconds of a {kind}"


def _when_lost(policy: Policy) -> _Found:
    """Answers to a question that nobody asks, and budgets that nobody counts."""
    store, answers = policy.store, policy.store.answers
    if store.when_lost == "closed":
        return
    if store.shared is None:
        yield "store.when_lost", "without effect: memory:// is never lost"
        return
    open_scopes = [scope for scope, answer in answers.named.items() if answer == "open"]
    open_scopes += ["rest"] if answers.rest == "open" else []
    if open_scopes:
        yield (
            "store.when_lost",
            f"while the shared store is lost, limits of {', '.join(open_scopes)} hold nobody back, "
            "those of money neither; share gives each gateway its part of them",
        )
    if store.timeout_s > _NOTICEABLE_S and {*answers.named.values(), answers.rest} != {"closed"}:
        yield (
            "store.timeout",
            f"calls that go on without the shared store wait {store.timeout_s:g} s for it first; "
            "left out it is 20ms",
        )


def _is_near(host: str) -> bool:
    return host.startswith(("/", "127.")) or host in ("localhost", "::1")
