"""/admin/schedules: what begins by the clock, when it comes next, and what became of the last."""

from __future__ import annotations

from typing import Any

from gateway.api.requests.request import Scope
from gateway.schedules.views import listed
from gateway.service import Gateway


async def list_schedules(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Raises StorageUnavailable."""
    if gateway.schedules is None:
        return 200, {"schedules": []}
    given, store = gateway.active.policy.schedules, gateway.schedules.store
    return 200, {"schedules": await listed(given, store, gateway.clock.time())}
