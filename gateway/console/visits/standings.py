"""How backends stand, in words: whether each is asked, and why not."""

from __future__ import annotations

import datetime
from typing import Any, Literal

import msgspec

from gateway.api.admin.backends import list_backends
from gateway.backends.live import LiveBackend
from gateway.console.drawing.figures import duration
from gateway.console.visits.visit import Visit

Light = Literal["well", "asleep", "away"]


class StandingOf(msgspec.Struct, frozen=True, kw_only=True):
    """One backend at this moment."""

    name: str
    kind: str
    light: Light
    words: str
    slots: int | None
    running: int
    in_line: int
    """Behind those that run: here, or in the backend's own line."""
    warm_idle: int | None
    cold_p50: float | None
    cold_p95: float | None
    is_reserved: bool
    is_drained: bool
    row: dict[str, Any]
    """As ``GET /admin/backends`` tells it."""


def is_reserved(backend: LiveBackend) -> bool:
    """Whether it is paid for whether or not a call comes."""
    return backend.price is None or backend.price.reserved


def reserved_names(visit: Visit) -> set[str]:
    """Those of the policy in force."""
    backends = visit.gateway.active.backends
    return {name for name, backend in backends.items() if is_reserved(backend)}


async def standings(visit: Visit) -> list[StandingOf]:
    """All backends of the policy in force, those of other processes counted in."""
    _, told = await list_backends(visit.gateway, visit.scope, b"")
    active = visit.gateway.active.backends
    return [
        _standing(row, active[row["backend"]], visit.now_at)
        for row in told["backends"]
        if row["backend"] in active
    ]


def _standing(row: dict[str, Any], backend: LiveBackend, now_at: float) -> StandingOf:
    cold = backend.learned.cold
    light, words = _words(row, now_at)
    waits = backend.queue.waiting
    if row["slots"] is not None:
        waits = max(waits, row["in_flight"] - row["slots"])
    return StandingOf(
        name=row["backend"],
        kind=row["kind"],
        light=light,
        words=words,
        slots=row["slots"],
        running=max(0, row["in_flight"] - waits),
        in_line=waits,
        warm_idle=row["warm_idle"],
        cold_p50=None if cold is None else cold.p50,
        cold_p95=None if cold is None else cold.p95,
        is_reserved=is_reserved(backend),
        is_drained=row["blocked"] == "drained",
        row=row,
    )


def _words(row: dict[str, Any], now_at: float) -> tuple[Light, str]:
    blocked, why = row["blocked"], row["blocked_from"] or row["detail"]
    if blocked == "drained":
        return "away", "drained: it is sent no calls"
    if blocked == "cooling_down":
        until = row["blocked_until"]
        left = "" if until is None else f" {duration(max(0.0, _instant(until) - now_at))}"
        return "away", f"resting{left}: {why}" if why else f"resting{left}"
    if blocked == "returning":
        return "away", "back from an outage: it must have been well for a while"
    if blocked == "not_ready":
        return "away", f"not ready: {why}" if why else "not ready"
    if row["slots"] == 0:
        return "away", row["detail"] or "has no worker yet"
    if row["warm"]:
        return "well", _busy(row)
    if row["asked_at"] is None:
        return "asleep", "probably asleep: a call would start it"
    return "asleep", f"asleep: {row['detail'] or 'a call would start it'}"


def _busy(row: dict[str, Any]) -> str:
    slots, running, idle = row["slots"], row["in_flight"], row["warm_idle"]
    if slots is not None:
        return f"ready, {min(running, slots)} of {slots} busy"
    if idle is not None:
        return f"ready, {running} running, {idle} warm and idle"
    return f"ready, {running} running"


def _instant(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
