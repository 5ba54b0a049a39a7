"""A backend as the router sees it."""

from __future__ import annotations

from typing import cast

from adapters.base import LoadsModels
from gateway.backends.live import LiveBackend
from gateway.money.inputs import TEXT_ALONE, InputParts
from gateway.planning.line import NORMAL
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
    cold, price = learned.cold, backend.charged.in_force
    own = slots = backend.slots
    if slots is None:
        slots = backend.line.computes(now)
    in_flight = backend.queue.ahead_of(rank, backend.in_flight) if ahead is None else ahead
    in_flight += backend.line.others(now)
    if backend.concurrency.bound is None:
        in_flight += backend.leases.share.others
    run = learned.run_time(model)
    if slots is not None and in_flight >= slots:
        run = backend.leases.seen_to_run(run, now)
    load = BackendLoad(
        in_flight,
        slots,
        workers.idle(now) or 0,
        workers.starting_for_s(now),
        (backend.ready_in() or 0.0) if slots == 0 and cold is None else 0.0,
        tail_s=workers.tail_s(now),
    )
    blocked, last_resort = backend.standing(model, user, now)
    candidate = Candidate(
        backend.name,
        None if price is None else price.price,
        adapter.capabilities,
        backend.max_request,
        load,
        run,
        None if cold is None else cold.p95,
        backend.spec.common.max_run,
        blocked,
        backend.concurrency.most_waiting(own),
        learned.more_input(model, parts),
        last_resort,
        price,
        None if cold is None else cold.p50,
    )
    if model not in backend.loadable:
        return candidate
    return with_model_load(candidate, cast(LoadsModels, adapter).load_in(model))
