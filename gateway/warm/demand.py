"""What the planner sees: the calls of some models, and the workers that are up for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from math import inf

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.calls.state import CallState
from gateway.planning.planner import Seen

Pool = frozenset[str]
"""Models that are served by the same backends."""


def pools_of(active: ActivePolicy, backend: LiveBackend) -> list[Pool]:
    """The models that the backend serves, together where the same others serve them."""
    by_backends: dict[frozenset[str], set[str]] = defaultdict(set)
    for model in active.served_by(backend):
        by_backends[frozenset(active.policy.models[model].backends)].add(model)
    return [frozenset(models) for models in by_backends.values()]


def seen_by(
    active: ActivePolicy,
    backend: LiveBackend,
    pool: Pool,
    calls: Collection[CallState],
    now: float,
    planned: Mapping[str, int],
) -> tuple[Seen, int]:
    """(What is there for the models, what of that is no worker of the backend: slots of reserved
    ones, and of other platforms what runs there or is ``planned`` there: calls that will run at
    once, by the backend's name)."""
    load = overdue = waiting = jobs = elsewhere = 0
    last_model = last_route = ""
    late_from: float | None = None
    """When a call must have come to be overdue, of the last model and route: the calls of one look
    are many, and most of one kind. None where the model is another one's."""
    for state in calls:
        model, route, attempt = state.call.model, state.route, state.attempt
        if model is not last_model or route is not last_route:
            last_model, last_route = model, route
            late_from = now - active.slo(model, route) if model in pool else None
        if late_from is None:
            if attempt is not None and attempt.backend is backend:
                elsewhere += 1
            continue
        if attempt is not None and state.durable is not None:
            if (
                attempt.progress.ended_at != inf
            ):  # its answer waits for the store, and no worker for it
                continue
            jobs += 1
        load += 1
        if state.received <= late_from:
            overdue += 1
        if attempt is None:
            waiting += 1
    others = _others(active, pool, backend)
    at_home = sum(_capacity(one, planned.get(one.name, 0), now) for one in others)
    ready = at_home + _up_at(backend, elsewhere, now)
    return Seen(load, overdue, waiting, ready, jobs=jobs), at_home


def _up_at(backend: LiveBackend, elsewhere: int, now: float) -> int:
    """Calls that the workers of the backend which are up run at once, less those that it runs of
    other models."""
    workers = backend.workers
    up = max(workers.up(now) * workers.per_worker, backend.queue.running)
    return max(0, up - elsewhere)


def _others(active: ActivePolicy, pool: Pool, backend: LiveBackend) -> set[LiveBackend]:
    named = {name for model in pool for name in active.policy.models[model].backends}
    return {active.backends[name] for name in named} - {backend}


def _capacity(other: LiveBackend, planned: int, now: float) -> int:
    """Slots of one that is paid for in any case; of another what runs there, or will."""
    price, blocked = other.price, other.standing.blocked(now)
    if price is not None and not price.reserved:
        return max(other.queue.running, 0 if blocked else planned)
    if blocked:
        return 0
    slots = other.slots
    return other.queue.running if slots is None else slots
