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
    once, by the backend's name). Calls whose route leads elsewhere are none of its matter."""
    load = overdue = waiting = jobs = counted = 0
    of_kind: dict[tuple[str, str], int] = defaultdict(int)
    foreign: dict[LiveBackend, int] = defaultdict(int)
    last_model = last_route = ""
    late_from: float | None = None
    """When a call must have come to be overdue, of the last model and route: the calls of one look
    are many, and most of one kind. None where they are not meant."""
    for state in calls:
        model, route, attempt = state.call.model, state.route, state.attempt
        if model is not last_model or route is not last_route:
            of_kind[last_model, last_route] += load - counted
            counted, last_model, last_route = load, model, route
            meant = model in pool and backend in active.usable(model, route)
            late_from = now - _promised_s(active, model, route) if meant else None
        if late_from is None:
            if attempt is not None:
                foreign[attempt.backend] += 1
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
    of_kind[last_model, last_route] += load - counted
    at_home = 0
    for one in _others(active, pool, backend):
        most = _may_go(active, of_kind, one)
        runs = _capacity(one, planned.get(one.name, 0), foreign.get(one, 0), now)
        at_home += runs if most is None else min(runs, most)
    ready = at_home + _up_at(backend, foreign.get(backend, 0), now)
    return Seen(load, overdue, waiting, ready, jobs=jobs), at_home


def _promised_s(active: ActivePolicy, model: str, route: str) -> float:
    return active.slo(model, route) if active.knows(route) else active.policy.models[model].slo


def _may_go(
    active: ActivePolicy, of_kind: Mapping[tuple[str, str], int], other: LiveBackend
) -> int | None:
    """How many calls, by model and route, may go to another backend; None: all that there are."""
    may = [
        (other in active.usable(model, route), calls)
        for (model, route), calls in of_kind.items()
        if calls
    ]
    return None if all(goes for goes, _ in may) else sum(calls for goes, calls in may if goes)


def _up_at(backend: LiveBackend, foreign: int, now: float) -> int:
    """Calls that the workers of the backend which are up run at once, less those that it runs of
    other models."""
    workers = backend.workers
    up = max(workers.up(now) * workers.per_worker, backend.queue.running)
    return max(0, up - foreign)


def _others(active: ActivePolicy, pool: Pool, backend: LiveBackend) -> set[LiveBackend]:
    named = {name for model in pool for name in active.policy.models[model].backends}
    return {active.backends[name] for name in named} - {backend}


def _capacity(other: LiveBackend, planned: int, foreign: int, now: float) -> int:
    """Slots of one that is paid for in any case; of another what runs there, or will. ``foreign``:
    calls that it runs of other models."""
    price, blocked = other.price, other.standing.blocked(now)
    running = max(0, other.queue.running - foreign)
    if price is not None and not price.reserved:
        return max(running, 0 if blocked else planned)
    if blocked:
        return 0
    slots = other.slots
    return running if slots is None else max(0, slots - foreign)
