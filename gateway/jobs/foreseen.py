"""When a job that waits should begin, as far as anybody can say."""

from __future__ import annotations

from gateway.active_policy import ActivePolicy


def begins_in_s(active: ActivePolicy, model: str, ahead: int) -> float | None:
    """Seconds until a job of the model begins that has so many before it; None where none of its
    backends can say how many it runs at once."""
    spec = active.policy.models.get(model)
    if spec is None:
        return None
    per_second = 0.0
    for name in spec.backends:
        backend = active.backends[name]
        slots = backend.slots
        if slots is None:
            return 0.0 if backend.is_warm else None
        if slots:
            per_second += slots / max(backend.learned.run_time(model).mean, 0.001)
    return ahead / per_second if per_second else None
