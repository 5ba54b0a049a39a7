"""Whether a backend may be asked: blame grows with failures in a row and fades with time. Pure."""

from __future__ import annotations

import msgspec

from adapters.errors import FailureClass

_PATIENCE = 3
"""Failures in a row that are forgiven before a backend cools down."""
_FIRST_S, _LONGEST_S = 1.0, 60.0
_LASTING = frozenset((FailureClass.CREDENTIAL, FailureClass.GONE))
"""Failures that only an operator mends: no patience, longest cooling."""


class BackendHealth(msgspec.Struct, frozen=True):
    """How far a backend is blamed."""

    failures: int = 0
    """Blamed failures in a row."""
    open_until: float = 0.0
    """Not asked before this instant (monotonic)."""


def after_failure(
    health: BackendHealth, failure: FailureClass, now: float, retry_after: float | None = None
) -> BackendHealth:
    """Blames the backend as far as the failure's class says so."""
    if failure is FailureClass.OVERLOADED:
        return BackendHealth(health.failures, now + min(retry_after or _FIRST_S, _LONGEST_S))
    if not failure.blames:
        return health
    failures = health.failures + 1
    if failure in _LASTING:
        return BackendHealth(failures, now + _LONGEST_S)
    if now < health.open_until:
        return health  # calls that were under way when it failed: one event, and blamed already
    if failures < _PATIENCE:
        return BackendHealth(failures, health.open_until)
    cooling = min(_FIRST_S * 2.0 ** min(failures - _PATIENCE, 10), _LONGEST_S)
    return BackendHealth(failures, now + max(cooling, retry_after or 0.0))


def after_success(health: BackendHealth) -> BackendHealth:
    """One success forgives everything."""
    return HEALTHY if health.failures or health.open_until else health


HEALTHY = BackendHealth()
