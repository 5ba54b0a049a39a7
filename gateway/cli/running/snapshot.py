"""How a gateway stands, asked of itself."""

from __future__ import annotations

from typing import Any

from gateway.cli.running.client import RunningGateway
from gateway.money.text import short_usd

_COUNTS = ("calls", "errors", "refused", "cold_starts")
_SPANS = ("1h", "1d", "30d")


def snapshot(gateway: RunningGateway) -> dict[str, Any]:
    """Readiness, policy, backends, and what the last hour, day and month cost. Raises
    GatewayRefused."""
    policy = gateway.get("/admin/policy")
    backends = gateway.get("/admin/backends")
    return {
        "object": "status",
        "ready": gateway.get("/readyz"),
        "policy": {name: policy[name] for name in ("policy", "models", "warnings", "last_refused")},
        "backends": backends["backends"],
        "left_behind": backends["left_behind"],
        "spent": {span: _spent(gateway, span) for span in _SPANS},
    }


def _spent(gateway: RunningGateway, span: str) -> dict[str, Any]:
    report = gateway.get("/usage", {"from": span, "group_by": "outcome"})
    totals = report["totals"]
    return {name: totals[name] for name in (*_COUNTS, "cost_usd")}


def state_of(backend: dict[str, Any]) -> str:
    """In one word: ready, starting, cold, or why calls go elsewhere."""
    asleep = "starting" if backend["slots"] == 0 else "cold"
    return str(backend["blocked"] or ("ready" if backend["warm"] else asleep))


BACKEND_HEADS = ("backend", "kind", "state", "in flight", "slots", "warm idle", "why")


def backend_cells(backend: dict[str, Any]) -> tuple[str, ...]:
    """A row of a table."""
    why = backend["blocked_from"] or backend["detail"] or ""
    until = f" until {backend['blocked_until']}" if backend["blocked_until"] else ""
    told = (backend[name] for name in ("in_flight", "slots", "warm_idle"))
    figures = ("" if one is None else str(one) for one in told)
    return (backend["backend"], backend["kind"], state_of(backend), *figures, f"{why}{until}")


SPENT_HEADS = ("in the last", "calls", "errors", "refused", "cold starts", "USD")


def spent_cells(span: str, spent: dict[str, Any]) -> tuple[str, ...]:
    """A row of a table."""
    words = {"1h": "hour", "1d": "day", "30d": "30 days"}[span]
    figures = (str(spent[name]) for name in _COUNTS)
    return (words, *figures, short_usd(spent["cost_usd"]))
