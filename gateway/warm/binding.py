"""When a call is bound to each backend: what ``check`` tells of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adapters import class_for
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.syntax.problems import Mark, Problem, place_of, problem_at

AT_ONCE = "a call is sent at once, and starts a worker where none is warm"
BY_PLAN = "calls wait at the gateway for workers that the plan starts, where it says what is up"
BY_SLOTS = "calls wait at the gateway until one of its slots is free"


def binding_of(policy: Policy, spec: BackendSpec) -> str:
    """Which way its calls take."""
    rule = policy.warm_pool.get(spec.name)
    if spec.common.cold_start is None:
        return BY_SLOTS
    if rule is not None and rule.plan == "act" and can_be_told(spec):
        return BY_PLAN
    return AT_ONCE if spec.common.concurrency is None else BY_SLOTS


def can_be_told(spec: BackendSpec) -> bool:
    """Whether its platform can be told how many workers to keep."""
    return hasattr(class_for(spec.kind, spec.settings), "keep_workers")


def plans_in_vain(policy: Policy, places: Mapping[str, Mark]) -> Iterator[Problem]:
    """Plans that nobody can carry out."""
    for name, rule in policy.warm_pool.items():
        spec = policy.backends[name]
        if rule.plan == "act" and not can_be_told(spec):
            path = f"warm_pool.{name}.plan"
            text = f"without effect: a backend of kind {spec.kind} is not told what to keep"
            if spec.kind == "local":
                text = "without effect: the number of workers is fixed; say workers: {min, max}"
            yield problem_at(place_of(path, places), path, f"{text}; the plan is shown alone")
        if rule.plan != "off" and spec.common.cold_start is None:
            path = f"warm_pool.{name}.plan"
            text = "without effect: give the backend a cold_start, what a start takes"
            yield problem_at(place_of(path, places), path, text)
