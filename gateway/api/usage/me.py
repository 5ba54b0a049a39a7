"""GET /v1/me: what the key that asks is, may use, has used and has left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from gateway.api.requests.request import Receive, RequestContext, Scope, Send, only, respond_json
from gateway.api.usage.forecast import forecast_of
from gateway.calls.refusals import store_unavailable
from gateway.key_requests import permitted_json
from gateway.money.forecasts import parse_scope
from gateway.money.limits import is_callers_own, is_shown, unit_name
from gateway.money.text import iso, iso_or_none
from gateway.service import Gateway
from gateway.storage.base import Claim, LimitStatus, StorageUnavailable
from gateway.storage.claims import ClaimTemplate
from gateway.storage.queries import UsageQuery
from gateway.types import MICRO, NANO, TOKEN_TAG, ApiError, Principal, Unit
from gateway.windows import bounds

_PARTS: dict[Unit, int] = {"gpu_us": MICRO, "nano_usd": NANO}
_SPANS = ("day", "month")
"""Windows of the calendar, UTC, of which is told what the key has used."""


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
        now_at = gateway.clock.time()
        template = gateway.active.template(who, now_at=now_at)
        try:
            statuses = await gateway.shared.statuses(_told(template, who))
        except StorageUnavailable as unavailable:
            raise store_unavailable(unavailable) from None
        answer = {
            "key": who.key_id,
            "user": who.user,
            "plan": who.plan or None,
            "role": who.role,
            "tags": who.tags,
            "expires_at": iso_or_none(gateway.keys.ends_at(context.key()), "seconds"),
            **permitted_json(who.permitted),
            "models": gateway.active.models_of(who),
            "limits": [_limit(status, now_at) for status in statuses],
            "limits_change_at": _changes_at(template),
            "used": {window: await self._used(who, window, now_at) for window in _SPANS},
        }
        if _wants_forecast(scope) and who.token is None:
            whose = parse_scope(None, who)
            answer["forecast"] = (await forecast_of(gateway, context, whose))["windows"]
        await respond_json(send, context, answer)

    async def _used(self, who: Principal, window: str, now_at: float) -> dict[str, Any] | None:
        """What the key, or the token, has used in the window that holds now; None while the ledger
        cannot say."""
        start_us, _ = bounds(window, round(now_at * MICRO))
        where = {"user": who.user, "key": who.key_id}
        if who.token is not None:
            where[f"tag:{TOKEN_TAG}"] = who.id
        query = UsageQuery(since=start_us / MICRO, group_by=(), where=where)
        try:
            [row] = (await self._gateway.ledger.usage(query)).rows
        except StorageUnavailable:
            return None
        return {
            "since": iso(start_us / MICRO, "seconds"),
            "calls": row.calls,
            "usd": row.cost_nano / NANO,
            "gpu_seconds": row.gpu_us / MICRO,
            "input_tokens": row.input_tokens,
            "output_tokens": row.output_tokens,
        }


def _told(template: ClaimTemplate, who: Principal) -> Sequence[Claim]:
    """Of a client token its own alone: whoever shows one need not know its key's."""
    if who.token is None:
        return template.limits
    return [claim for claim in template.limits if is_shown(claim, who)]


def _changes_at(template: ClaimTemplate) -> str | None:
    """When a raise of a limit begins or ends next."""
    return None if template.until == math.inf else iso(template.until, "seconds")


def _wants_forecast(scope: Scope) -> bool:
    """It costs a report, so it is told on request. Raises ApiError 400."""
    params = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    asked = params.get("forecast", ["false"])
    if asked not in (["true"], ["false"]):
        raise ApiError(400, "invalid_parameter", "/v1/me takes forecast=true", param="forecast")
    return asked == ["true"]


def _limit(status: LimitStatus, now_at: float) -> dict[str, Any]:
    claim = status.claim
    kind, _, name = claim.scope.partition(":")
    told: dict[str, Any] = {
        "scope": kind,
        "name": name or None,
        "unit": unit_name(claim.unit),
        "window": claim.window or None,
        "limit": None,
        "remaining": None,
        "resets_at": iso(round(now_at + status.reset_s), "seconds") if claim.window else None,
    }
    if is_callers_own(claim):
        told["limit"] = _amount(claim.unit, claim.limit)
        told["remaining"] = _amount(claim.unit, status.likely)
    return told


def _amount(unit: Unit, amount: int) -> float | int:
    part = _PARTS.get(unit)
    return amount if part is None else amount / part
