"""``spillgate usage --forecast``: where spend leads, and when a limit is used up."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from gateway.cli.shared import fail, policy_with_stores, table
from gateway.clock import SystemClock
from gateway.money.forecasts import SpendScope, hourly, limits_of, parse_scope, told
from gateway.opening.stores import open_keys, open_ledger
from gateway.policy.model import Policy
from gateway.types import ApiError, Principal

_OPERATOR = Principal(key_id="operator", user="operator", role="admin")
_COLUMNS = (
    "unit", "window", "limit", "spent", "low", "expected", "high", "exhausted_at", "earliest",
    "latest",
)  # fmt: skip


def forecast(config: Path, scope: str, form: str) -> int:
    """Exit status 0. Ends the program where the scope or the policy cannot be read."""
    if form not in ("table", "json"):
        fail("--forecast tells windows, as a table or as JSON")
    policy = policy_with_stores(config)
    try:
        found = asyncio.run(_forecast(policy, parse_scope(scope, _OPERATOR)))
    except ApiError as error:
        fail(error.message)
    if form == "json":
        print(json.dumps(found, indent=2))
    else:
        rows = [[_cell(window[name]) for name in _COLUMNS] for window in found["windows"]]
        print(table(_COLUMNS, rows), end="")
    return 0


async def _forecast(policy: Policy, whose: SpendScope) -> dict[str, Any]:
    clock = SystemClock()
    ledger = open_ledger(policy)
    try:
        spend = await hourly(ledger, whose, _OPERATOR, clock.time())
    finally:
        await ledger.aclose()
    principals = await asyncio.to_thread(_principals, policy, whose)
    limits = limits_of(whose, policy, principals, clock.time())
    return told(whose, spend, limits, clock.time())


def _principals(policy: Policy, whose: SpendScope) -> list[Principal]:
    if whose.kind not in ("key", "user"):
        return []
    keys = open_keys(policy, SystemClock())
    try:
        found = [record.principal for record in keys.list() if record.revoked_at is None]
    finally:
        keys.close()
    return [one for one in found if whose.name in (one.user, one.key_id)]


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
