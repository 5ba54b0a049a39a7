"""/admin/backends/{backend}/ping: what it will cost to ask a backend, and to ask it."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.api.requests.request import Scope
from gateway.backends.live import LiveBackend
from gateway.money.scopes import ACCOUNT
from gateway.money.text import usd
from gateway.service import Gateway
from gateway.types import ApiError
from gateway.warm.pings import PingEnd, quoted

REASON = "operator"
"""Why such a ping was sent, in its row."""


class PingAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a ping; an empty one is as good."""

    free: bool = False
    """By a question that costs nothing and wakes nobody, whatever else the backend has."""


async def quote(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """By which means a backend is asked, and what that will cost. Raises ApiError 404."""
    return 200, quote_of(gateway.active.backend(scope["path_params"]["backend"]))


def quote_of(backend: LiveBackend) -> dict[str, Any]:
    """Dollars as exact decimals, in text."""
    found = quoted(backend)
    return {
        "backend": backend.name,
        "means": found.means,
        "charged": found.is_charged,
        "expected_usd": usd(found.expected_nano),
        "at_most_usd": usd(found.most_nano),
        "account": ACCOUNT if found.means == "ping" else None,
        "price": backend.spec.common.price,
    }


async def ping(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Asks it, and says what it did. Raises ApiError 404 for an unknown backend, 402 where a limit
    has no room for a ping, and StorageUnavailable where it could not be written down."""
    backend = gateway.active.backend(scope["path_params"]["backend"])
    asked = _read(body)
    if asked.free or backend.warmable is None:
        return 200, await _probed(gateway, backend)
    if gateway.pings is None:
        raise ApiError(503, "shutting_down", "The gateway is about to start, or to end.")
    begun = gateway.clock.monotonic()
    end = await gateway.pings.send_whole(backend, backend.warmable, REASON)
    if end.outcome == "refused":
        words = (
            f"No limit may be passed for a ping: that of the warm pool, of the gateway or of "
            f"{backend.name} has no room for it. Nothing was asked, and nothing is charged."
        )
        raise ApiError(402, "budget_exhausted", words)
    return 200, _told(backend, end, gateway.clock.monotonic() - begun)


async def _probed(gateway: Gateway, backend: LiveBackend) -> dict[str, Any]:
    begun = gateway.clock.monotonic()
    probe = await backend.adapter.probe()
    backend.probed(probe)
    told = _told(backend, PingEnd("success"), gateway.clock.monotonic() - begun)
    return {**told, "means": "probe", "ready": probe.ready, "message": probe.told}


def _told(backend: LiveBackend, end: PingEnd, took_s: float) -> dict[str, Any]:
    return {
        "backend": backend.name,
        "means": "ping",
        "outcome": end.outcome,
        "ready": end.outcome == "success",
        "error": end.error or None,
        "message": end.message,
        "row": end.row or None,
        "cost_usd": usd(end.nano),
        "took_seconds": round(took_s, 6),
        "cold_start_seconds": end.used.cold_s,
        "ran_seconds": end.used.exec_s,
    }


def _read(body: bytes) -> PingAsked:
    try:
        return msgspec.json.decode(body or b"{}", type=PingAsked)
    except msgspec.DecodeError as error:
        words = f'The body is {{}} or {{"free": true}}: {error}.'
        raise ApiError(400, "invalid_body", words) from None
