"""/admin/backends: how they stand, no more calls to one, and calls again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.api.requests.request import Scope
from gateway.backends.live import LiveBackend
from gateway.money.text import iso, iso_or_none
from gateway.service import Gateway
from gateway.warm.plan_reports import plan_as_json

_OF_A_PROCESS = ("in_flight", "warm", "warm_idle", "blocked", "blocked_until", "failures_in_a_row")


async def list_backends(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """How each backend of the policy stands, and how many workers its platform was told to keep;
    ``left_behind``: the same of platforms that the policy does not know any more."""
    kept = gateway.kept_workers.read()
    rows = backend_rows(gateway)
    if gateway.together is not None:
        rows = _of_all(rows, await gateway.together.backends())
    rows = [{**row, "kept_workers": kept.pop(row["backend"], 0)} for row in rows]
    return 200, {"backends": rows, "left_behind": kept}


def backend_rows(gateway: Gateway) -> list[dict[str, Any]]:
    """How each backend stands in this process."""
    now = gateway.clock.monotonic()
    return [
        {
            "backend": name,
            "kind": backend.spec.kind,
            "warm": backend.is_warm,
            "slots": backend.slots,
            "in_flight": backend.in_flight,
            "warm_idle": backend.warm_idle,
            **_standing(backend, now, gateway.clock.time()),
            "detail": backend.standing.told,
            "asked_at": _asked_at(backend, now, gateway.clock.time()),
            **_plan(gateway, name),
        }
        for name, backend in gateway.active.backends.items()
    ]


def _asked_at(backend: LiveBackend, now: float, now_at: float) -> str | None:
    asked = backend.standing.asked_at
    return None if asked is None else iso(now_at + asked - now, "milliseconds")


def _plan(gateway: Gateway, name: str) -> dict[str, Any]:
    """What a plan would have, and why; nothing where none is made."""
    plan = None if gateway.plans is None else gateway.plans.last(name)
    return {} if plan is None else {"plan": plan_as_json(plan)}


def _of_all(
    rows: list[dict[str, Any]], processes: Mapping[int, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """With the calls of all processes, and under ``processes`` how each of these stands to it."""
    return [
        {**row, "in_flight": sum(one["in_flight"] for one in each), "processes": each}
        for row in rows
        for each in [[*_same(row, processes)]]
    ]


def _same(
    row: dict[str, Any], processes: Mapping[int, list[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    for number, others in sorted(processes.items()):
        for other in others:
            if other["backend"] == row["backend"]:
                shown = {key: other[key] for key in _OF_A_PROCESS}
                yield {"process": number, **shown}


def _standing(backend: LiveBackend, now: float, now_at: float) -> dict[str, Any]:
    """Why and until when everybody's calls go elsewhere, and who is kept away after failures."""
    blocked = backend.standing.blocked(now)
    rests = sorted(backend.rests.health.rests(now), key=lambda rest: rest.until, reverse=True)
    wide = [rest for rest in rests if not rest.user]
    resting = wide[0] if wide and blocked == "cooling_down" else None
    until = resting.until if resting else None
    if blocked == "returning" and backend.standing.outage is not None:
        until = backend.standing.outage.back_at
    return {
        "blocked": blocked or None,
        "blocked_from": resting.cause if resting else backend.standing.told if blocked else None,
        "blocked_until": iso_or_none(
            None if until is None else now_at + until - now, "milliseconds"
        ),
        "failures_in_a_row": backend.rests.health.failures,
        "rests": [
            {
                "model": rest.model or None,
                "user": rest.user or None,
                "until": iso(now_at + rest.until - now, "milliseconds"),
                "from": rest.cause,
                "failures": rest.failures,
                "last_resort": not rest.hard,
            }
            for rest in rests
        ],
    }


async def drain(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Sends a backend no more calls; those it has run to their ends. Raises ApiError 404 for an
    unknown backend."""
    return await _set_draining(gateway, scope, True)


async def enable(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Sends a drained backend calls again. Raises ApiError 404 for an unknown backend."""
    return await _set_draining(gateway, scope, False)


async def _set_draining(gateway: Gateway, scope: Scope, draining: bool) -> tuple[int, Any]:
    name = scope["path_params"]["backend"]
    in_flight = gateway.set_draining(name, draining).in_flight
    if gateway.together is not None:
        processes = await gateway.together.backends()
        in_flight = sum(one["in_flight"] for one in _same({"backend": name}, processes))
    return 200, {"backend": name, "draining": draining, "in_flight": in_flight}
