"""GET /usage/forecast: what a window will have spent at its end, and when a limit is used up."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

from gateway.api.requests.request import Receive, RequestContext, Scope, Send, only, respond_json
from gateway.money.forecasts import SpendScope, hourly, limits_of, parse_scope, told
from gateway.money.usage_reports import refusal_of
from gateway.service import Gateway
from gateway.storage.base import ReportRefused
from gateway.types import ApiError, Principal


class ForecastEndpoint:
    """A user sees its own, an admin all; ``scope`` says whose. Raises ApiError 400 and 403."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        params = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        whose = parse_scope(params.pop("scope", None), context.principal)
        for name in params:
            raise ApiError(
                400, "invalid_parameter", "/usage/forecast takes scope alone", param=name[:64]
            )
        await respond_json(send, context, await forecast_of(self._gateway, context, whose))


async def forecast_of(
    gateway: Gateway, context: RequestContext, whose: SpendScope
) -> dict[str, Any]:
    """Raises ApiError where the report is not made, and StorageUnavailable."""
    now_at = gateway.clock.time()
    try:
        spend = await hourly(gateway.ledger, whose, context.principal, now_at)
    except ReportRefused as refused:
        raise refusal_of(refused) from None
    principals = await _principals(gateway, context.principal, whose)
    limits = limits_of(whose, gateway.active.policy, principals, now_at)
    return told(whose, spend, limits, now_at)


async def _principals(gateway: Gateway, asking: Principal, whose: SpendScope) -> list[Principal]:
    """Whose limits may be the scope's: where an admin asks for others, the keys say that."""
    if whose.name in (asking.user, asking.key_id):
        return [asking]
    if asking.role != "admin" or whose.kind not in ("key", "user"):
        return []
    records = await asyncio.to_thread(gateway.keys.list)
    found = [record.principal for record in records if record.revoked_at is None]
    return [one for one in found if whose.name in (one.user, one.key_id)]
