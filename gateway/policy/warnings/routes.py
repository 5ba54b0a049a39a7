"""Routes that can never match, use nobody, or wait in vain."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from gateway.policy.matching import choices
from gateway.policy.model import AnswerBound, BackendSpec, ModelSpec, Policy, Route, When
from gateway.policy.warnings.places import Found

_SETS = ("model", "task", "user", "plan", "priority", "stream")


def routes_in_vain(policy: Policy) -> Found:
    """Of every kind, one after the other."""
    yield from _unreached(policy)
    yield from _contradictions(policy)
    yield from _idle_routes(policy)
    yield from _weights(policy)
    yield from _regions(policy)
    yield from _first_tokens(policy)
    yield from _hedges(policy)


def _unreached(policy: Policy) -> Found:
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


def _contradictions(policy: Policy) -> Found:
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


def _strangers(asked: object, known: Mapping[str, object], path: str, what: str) -> Found:
    if asked is None:
        return
    for name in choices(asked):
        if name not in known:
            yield path, f"never matches {name}: the policy has no such {what}"


def _may_take(when: When, name: str, model: ModelSpec) -> bool:
    return (when.model is None or name in choices(when.model)) and (
        when.task is None or model.task in choices(when.task)
    )


def _idle_routes(policy: Policy) -> Found:
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


def _regions(policy: Policy) -> Found:
    known = {spec.common.region for spec in policy.backends.values()}
    for index, route in enumerate(policy.routes):
        for region in route.regions:
            if region not in known:
                yield f"routes[{index}].regions", f"no backend runs in {region}"
    if policy.regions is None:
        return
    if known <= {None}:
        yield "regions", "without effect: no backend has a region"
    for said, region in policy.regions.names.items():
        if region not in known:
            yield f"regions.names.{said}", f"no backend runs in {region}"


def _weights(policy: Policy) -> Found:
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


def _first_tokens(policy: Policy) -> Found:
    """Where a call has ended before its first token is late."""
    for name, spec in policy.backends.items():
        if spec.common.first_token:
            yield from _never_late(spec, spec.common.first_token, f"backends.{name}.first_token")
    for index, route in enumerate(policy.routes):
        for name in route.use if route.first_token is not None else ():
            path = f"routes[{index}].first_token"
            yield from _never_late(policy.backends[name], route.first_token, path)


def _never_late(spec: BackendSpec, first_token: AnswerBound | None, path: str) -> Found:
    timeout = getattr(spec.settings, "timeout", None)
    if not isinstance(first_token, float) or not isinstance(timeout, float):
        return
    if timeout <= first_token:
        yield (
            path,
            f"without effect: the timeout of {spec.name}, {timeout:g} s, ends a call before "
            f"{first_token:g} s; give a longer timeout, or a shorter first_token",
        )


def _hedges(policy: Policy) -> Found:
    """Where no call may be at two backends."""
    for index, route in enumerate(policy.routes):
        if route.hedge is None:
            continue
        path, retries = f"routes[{index}].hedge", route.retries
        taken = [
            name for name, model in policy.models.items() if _may_take(route.when, name, model)
        ]
        if retries is not None and retries.attempts == 1:
            yield path, "without effect: retries.attempts lets a call be asked once"
        elif not any(_may_hedge(policy, route, name) for name in taken):
            yield (
                path,
                "without effect: no call of the route may run at two of its backends: it must be "
                "idempotent, and repeat: always must allow a run that is billed by the second or "
                "by the call",
            )


def _may_hedge(policy: Policy, route: Route, name: str) -> bool:
    model = policy.models[name]
    own = model.task not in ("infer", "other") if model.idempotent is None else model.idempotent
    if not (own if route.idempotent is None else route.idempotent):
        return False
    may = [_may_run_twice(policy, route, backend) for backend in _left(policy, route, name)]
    return sum(may) > 1


def _may_run_twice(policy: Policy, route: Route, backend: str) -> bool:
    common = policy.backends[backend].common
    rule = route.repeat or common.repeat
    prices = () if common.price is None else policy.prices[common.price].entries
    return rule == "always" or (rule == "auto" and not any(one.bills_runs for one in prices))
