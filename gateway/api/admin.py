"""/admin: its endpoint, backends, policy. For admin keys only, but for the keys of delegates."""

from __future__ import annotations

import asyncio
import datetime
import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from gateway.api.audited import ACTS, audited
from gateway.api.bodies import read_body
from gateway.api.request import (
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
    respond_json,
)
from gateway.backends.live import LiveBackend
from gateway.money.text import iso, iso_or_none
from gateway.policy.model import Policy
from gateway.policy.syntax.problems import PolicyError
from gateway.policy.warnings import warnings_of
from gateway.service import Gateway
from gateway.types import ApiError, Role
from gateway.warm.plan_reports import plan_as_json

ReadPolicy = Callable[[str], Policy]
Handler = Callable[[Gateway, Scope, bytes], Awaitable[tuple[int, Any]]]

_ADMINS: tuple[Role, ...] = ("admin",)
_DELEGATED: tuple[Role, ...] = ("admin", "delegate")
FOR_DELEGATES = ("/admin/keys", "/admin/keys/{key_id}", "/admin/keys/{key_id}/rotate")
"""The routes that a delegate may ask for its team."""

_OF_A_PROCESS = ("in_flight", "warm", "warm_idle", "blocked", "blocked_until", "failures_in_a_row")


class AdminEndpoint:
    """One route: ``handlers`` maps a method to what it does; each returns (status, JSON).
    Raises ApiError 403 for a key without the right, and 405 for another method."""

    def __init__(self, gateway: Gateway, path: str, handlers: dict[str, Handler]) -> None:
        self._gateway = gateway
        self._path = path
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        context.require(_DELEGATED if self._path in FOR_DELEGATES else _ADMINS)
        handler = self._handlers.get(scope["method"])
        if handler is None:
            only(next(iter(self._handlers)), scope)
            raise AssertionError("unreachable")
        body = await read_body(self._gateway, context, receive)
        run = functools.partial(handler, self._gateway, scope, body)
        act = ACTS.get((scope["method"], self._path))
        status, value = await (run() if act is None else audited(self._gateway, act, scope, run))
        await respond_json(send, context, value, status)


# --- backends ------------------------------------------------------------------------------------


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
            "detail": backend.standing.detail,
            **_plan(gateway, name),
        }
        for name, backend in gateway.active.backends.items()
    ]


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
    return {
        "blocked": blocked or None,
        "blocked_from": resting.cause if resting else backend.standing.detail if blocked else None,
        "blocked_until": iso_or_none(
            now_at + resting.until - now if resting else None, "milliseconds"
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


# --- policy --------------------------------------------------------------------------------------


class PolicyRoutes:
    """Reads policies from request bodies by the reader that it is given."""

    def __init__(self, read: ReadPolicy) -> None:
        self._read_text = read

    async def show(self, gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
        """With what the last SIGHUP read of the files that the policy names, and why the policy's
        own were refused, where they were."""
        refused = gateway.refused
        return 200, {
            **_summary(gateway.active.policy),
            "files": gateway.files,
            "last_refused": refused
            and {"at": iso(refused.at, "milliseconds"), "problems": refused.problems},
        }

    async def validate(self, gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
        """Reads a policy without applying it. Raises ApiError 400 with every problem found."""
        return 200, {"valid": True, **_summary(await self._read(body))}

    async def apply(self, gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
        """In force until the next reload or restart, which read the files again. Raises ApiError
        409 where several processes serve."""
        gateway.check_alone()
        policy = await self._read(body)
        await gateway.apply(policy)
        return 200, {"applied": True, **_summary(policy)}

    async def roll_back(self, gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
        """Returns to the policy before this one. Raises ApiError 409 when there is none, and where
        several processes serve."""
        gateway.check_alone()
        return 200, {"applied": True, **_summary(await gateway.roll_back())}

    async def _read(self, body: bytes) -> Policy:
        try:
            return await asyncio.to_thread(self._read_text, body.decode())
        except UnicodeDecodeError:
            raise ApiError(400, "invalid_policy", "The policy is not UTF-8 text.") from None
        except PolicyError as error:
            raise ApiError(400, "invalid_policy", str(error)) from None


def _summary(policy: Policy) -> dict[str, Any]:
    today = datetime.datetime.now(datetime.UTC).date()
    return {
        "policy": policy.version,
        "models": list(policy.models),
        "backends": list(policy.backends),
        "routes": [route.name for route in policy.routes],
        "warnings": [str(problem) for problem in warnings_of(policy, today=today)],
    }
