"""GET /v1/me: what the key that asks is, may use and has left."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from gateway.api.forecast import forecast_of
from gateway.api.request import Receive, RequestContext, Scope, Send, only, respond_json
from gateway.calls.refusals import store_unavailable
from gateway.money.forecasts import parse_scope
from gateway.money.limits import is_callers_own
from gateway.money.text import iso
from gateway.service import Gateway
from gateway.storage.base import LimitStatus, StorageUnavailable
from gateway.types import MICRO, NANO, ApiError, Unit

_NAMES: dict[Unit, str] = {"gpu_us": "gpu_seconds", "nano_usd": "usd"}
_PARTS: dict[Unit, int] = {"gpu_us": MICRO, "nano_usd": NANO}


class MeEndpoint:
    """GET /v1/me. Figures of limits that other tenants share are not told, only that they hold.
    Raises ApiError 403 for a key whose plan has gone, 400 for an odd query, 503 while the shared
    store does not answer.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        gateway, who = self._gateway, context.principal
        claims = gateway.active.template(who).limits
        try:
            statuses = await gateway.shared.statuses(claims)
        except StorageUnavailable as unavailable:
            raise store_unavailable(unavailable) from None
        now_at = gateway.clock.time()
        answer = {
            "key": who.key_id,
            "user": who.user,
            "plan": who.plan or None,
            "role": who.role,
            "tags": who.tags,
            "models": list(gateway.active.policy.models),
            "limits": [_limit(status, now_at) for status in statuses],
        }
        if _wants_forecast(scope):
            whose = parse_scope(None, who)
            answer["forecast"] = (await forecast_of(gateway, context, whose))["windows"]
        await respond_json(send, context, answer)


def _wants_forecast(scope: Scope) -> bool:
    """It costs a report, so it is told on request. Raises ApiError 400."""
    params = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    asked = params.get("forecast", ["false"])
    if asked not in (["true"], ["false"]):
        raise ApiError(400, "invalid_parameter", "/v1/me takes forecast=true", param="forecast")
    return asked == ["true"]


def _limit(status: LimitStatus, now_at: float) -> dict[str, Any]:
    claim = status.claim
    told: dict[str, Any] = {
        "scope": claim.scope.partition(":")[0],
        "unit": _NAMES.get(claim.unit, claim.unit),
        "window": claim.window or None,
        "limit": None,
        "remaining": None,
        "resets_at": iso(now_at + status.reset_s, "seconds") if claim.window else None,
    }
    if is_callers_own(claim):
        told["limit"] = _amount(claim.unit, claim.limit)
        told["remaining"] = _amount(claim.unit, status.remaining)
    return told


def _amount(unit: Unit, amount: int) -> float | int:
    part = _PARTS.get(unit)
    return amount if part is None else amount / part
