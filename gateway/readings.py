"""The gauges of a running gateway: how it stands at the instant of a scrape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapters.base import ReportsMemory, ReportsModels
from adapters.types import ModelMemory, WorkerMemory
from gateway.backends.live import LiveBackend
from gateway.metrics import Reading
from gateway.service import Gateway


def readings(gateway: Gateway) -> Iterable[Reading]:
    """Gauges, at the instant of a scrape."""
    now = gateway.clock.monotonic()
    yield (
        "spillgate_policy_info",
        "The policy in force",
        {"version": gateway.active.policy.version},
        1.0,
    )
    yield (
        "spillgate_ledger_failing",
        "1 while writes fail",
        {},
        float(bool(gateway.ledger.failing)),
    )
    yield (
        "spillgate_shared_store_failing",
        "1 while it does not answer",
        {},
        float(bool(gateway.shared.failing or gateway.shared.degraded)),
    )
    text = "1 while changes of keys cannot be read"
    yield "spillgate_keys_failing", text, {}, float(bool(gateway.keys.failing))
    yield "spillgate_settlements_waiting", "Not taken yet", {}, float(gateway.settler.waiting)
    yield "spillgate_access_log_dropped", "Lines lost", {}, float(gateway.access_log.dropped)
    for name, backend in gateway.active.backends.items():
        label = {"backend": name}
        yield "spillgate_in_flight", "Calls at the backend", label, float(backend.in_flight)
        yield "spillgate_slots", "Calls it runs at once", label, float(_slots(backend))
        yield "spillgate_backend_ready", "1: warm", label, float(backend.is_warm)
        blocked = float(bool(backend.standing.blocked(now)))
        yield "spillgate_backend_blocked", "1: not asked now", label, blocked
        yield from _planned(gateway, name)
        if backend.standing.starts is not None:
            for stage, seconds in backend.standing.starts.start_stages.items():
                text = "What a stage of the last start took"
                yield "spillgate_start_seconds", text, {**label, "stage": stage}, seconds
        if isinstance(backend.adapter, ReportsMemory):
            for worker, memory in backend.adapter.memory().items():
                yield from weights({**label, "worker": worker}, memory)
        if isinstance(backend.adapter, ReportsModels):
            for worker, models in backend.adapter.stock().items():
                yield from stock({**label, "worker": worker}, models)


def _planned(gateway: Gateway, name: str) -> Iterable[Reading]:
    plan = None if gateway.plans is None else gateway.plans.last(name)
    if plan is None:
        return
    figures = {
        "workers": plan.minimum.workers,
        "hold": sum(one.capacity.hold for one in plan.pools),
        "start": sum(one.capacity.starting for one in plan.pools),
        "reserve": sum(one.capacity.reserved for one in plan.pools),
        "overdue": sum(one.seen.overdue for one in plan.pools),
    }
    text = "What the plan of workers would have, and the calls that are past their slo"
    for what, value in figures.items():
        yield "spillgate_plan", text, {"backend": name, "what": what}, float(value)


def _slots(backend: LiveBackend) -> int:
    """Calls that it runs at once, those of other processes among them; 0: not known, or none."""
    known = [one for one in (backend.adapter.slots, backend.spec.common.concurrency) if one]
    return 0 if backend.adapter.slots == 0 else min(known, default=0)


def stock(label: dict[str, str], models: Mapping[str, ModelMemory]) -> Iterable[Reading]:
    """The gauges of the models that share one worker."""
    for name, model in models.items():
        for what, text, value in (
            ("resident_bytes", "Set aside for a model that is loaded", model.resident),
            ("loads", "Loads since its worker started", model.loads),
            ("evictions", "Times that it went for another", model.evictions),
            ("load_failures", "Loads that failed", model.failures),
            ("load_seconds", "What its last load took", model.load_s),
        ):
            yield f"spillgate_model_{what}", text, {**label, "model": name}, float(value)


def weights(label: dict[str, str], memory: WorkerMemory) -> Iterable[Reading]:
    """The gauges of what one worker occupies; none of what it does not tell."""
    if memory.resident is not None:
        name = "spillgate_worker_resident_memory_bytes"
        yield name, "A worker's process in its machine's memory", label, float(memory.resident)
    kinds = {
        "allocated": memory.device_allocated,
        "reserved": memory.device_reserved,
        "peak": memory.device_peak,
    }
    for kind, size in kinds.items():
        if size is not None:
            name, text = "spillgate_worker_device_memory_bytes", "A worker's memory on its GPUs"
            yield name, text, {**label, "kind": kind}, float(size)
