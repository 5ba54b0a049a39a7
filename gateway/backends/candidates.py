"""A backend as the router sees it, and which of them a route leaves."""

from __future__ import annotations

from typing import cast

from adapters.base import LoadsModels
from gateway.backends.live import LiveBackend
from gateway.money.inputs import TEXT_ALONE, InputParts
from gateway.planning.line import NORMAL
from gateway.routing.conversations import NOTHING_KEPT
from gateway.routing.forecast import BackendLoad
from gateway.routing.router import Candidate, with_model_load


def candidate_of(
    backend: LiveBackend,
    model: str,
    now: float,
    ahead: int | None = None,
    user: str = "",
    rank: int = NORMAL,
    parts: InputParts = TEXT_ALONE,
) -> Candidate:
    """The backend at this instant, frozen, for a call of ``user``; for one that waits there
    already, ``ahead`` are the calls before it; for another, ``rank`` tells whom it would go
    before."""
    learned, workers, adapter = backend.learned, backend.workers, backend.adapter
    cold, tariff, common = learned.cold, backend.charged.tariff, backend.spec.common
    in_force = backend.charged.in_force() if tariff.varies else tariff.constant
    price, capabilities = None if in_force is None else in_force.price, adapter.capabilities
    own = slots = backend.concurrency.slots()
    in_flight = backend.in_flight if ahead is None else ahead
    if ahead is None and in_flight > backend.queue.running:
        in_flight = backend.queue.ahead_of(rank, in_flight)
    if (line := backend.line).told:
        slots = line.computes(now) if slots is None else slots
        in_flight += line.others(now)
    if backend.concurrency.bound is None:
        in_flight += backend.leases.share.others
    run = learned.run_time(model)
    if slots is not None and in_flight >= slots:
        run = backend.leases.seen_to_run(run, now)
    if cold is None:
        load = _load_of_own_workers(backend, in_flight, slots)
    else:
        idle, starting_s = workers.idle(now) or 0, workers.starting_for_s(now)
        tail_s, most = workers.tail_s(now, price), slots or None  # no worker up: it starts some
        way_s = backend.round_trip_s
        load = BackendLoad(in_flight, most, idle, starting_s, 0.0, 0.0, tail_s, way_s)
    blocked, last_resort = backend.standing.of_call(model, user, now)
    candidate = Candidate(
        backend.name,
        price,
        capabilities,
        capabilities.max_request_bytes if common.max_request is None else common.max_request,
        load,
        run,
        None if cold is None else cold.p95,
        common.max_run,
        blocked,
        backend.concurrency.most_waiting(own),
        learned.more_input(model, parts) if learned.inputs else 0,
        last_resort,
        in_force,
        None if cold is None else cold.p50,
        common.takes,
        common.context,
        NOTHING_KEPT,
        common.region,
    )
    if model not in backend.loadable:
        return candidate
    return with_model_load(candidate, cast(LoadsModels, adapter).load_in(model))


def _load_of_own_workers(backend: LiveBackend, in_flight: int, slots: int | None) -> BackendLoad:
    """Of one that is up, or starts its workers by itself."""
    way_s = backend.round_trip_s
    if slots == 0 and (ready_in_s := backend.standing.ready_in()):
        guess = not backend.standing.has_started
        return BackendLoad(in_flight, slots, 0, None, ready_in_s, 0.0, 0.0, way_s, guess)
    return BackendLoad(in_flight, slots, 0, None, 0.0, 0.0, 0.0, way_s)


def inside(serving: tuple[LiveBackend, ...], regions: tuple[str, ...]) -> tuple[LiveBackend, ...]:
    """Those that run where a route's calls may go."""
    if not regions:
        return serving
    return tuple(backend for backend in serving if backend.spec.common.region in regions)


def in_order(serving: tuple[LiveBackend, ...], use: tuple[str, ...]) -> tuple[LiveBackend, ...]:
    """The model's backends that a route names, in the route's order; all where it names none."""
    if not use:
        return serving
    known = {backend.name: backend for backend in serving}
    return tuple(known[name] for name in use if name in known)
