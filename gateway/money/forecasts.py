"""``/usage/forecast``: where the spend of a key, a user, a plan, a tag or the gateway leads.

Asks the ledger for the spend of each hour; the rest is ``spend_forecast``.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gateway.money.limits import compile_claims
from gateway.money.spend_forecast import HISTORY_S, HOUR_S, SpendForecast, forecast
from gateway.money.text import iso, iso_or_none, seconds, usd
from gateway.policy.model import Policy
from gateway.storage.base import Claim, Ledger
from gateway.storage.queries import UsageQuery, UsageRow
from gateway.types import MICRO, ApiError, Principal, Unit
from gateway.windows import bounds, read_window

_WINDOWS = ("day", "week", "month")
"""Shorter ones have no hours to tell apart."""
_KINDS = ("key", "user", "plan", "tag", "gateway")
_OWN_KINDS = ("key", "user", "tag")
_UNITS: dict[Unit, str] = {"nano_usd": "usd", "gpu_us": "gpu_seconds"}


class SpendScope(NamedTuple):
    """Whose spend it is."""

    kind: str
    name: str
    """Empty for the gateway; of a tag ``NAME=VALUE``."""

    @property
    def text(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind

    def where(self) -> dict[str, str]:
        """As a report's conditions."""
        if self.kind == "gateway":
            return {}
        if self.kind == "tag":
            name, _, value = self.name.partition("=")
            return {f"tag:{name}": value}
        return {self.kind: self.name}


class HourlySpend(NamedTuple):
    """What the ledger has of a scope, by hour since the epoch."""

    nano_usd: dict[int, int]
    gpu_us: dict[int, int]

    def of(self, unit: Unit) -> dict[int, int]:
        return self.nano_usd if unit == "nano_usd" else self.gpu_us


def parse_scope(text: str | None, principal: Principal) -> SpendScope:
    """``user:alice``, ``key:key_1``, ``plan:free``, ``tag:team=nlp`` or ``gateway``; left out: the
    user who asks. Raises ApiError: 400 for what is none, 403 for another one's."""
    if text is None:
        return SpendScope("user", principal.user)
    kind, _, name = text.partition(":")
    if kind not in _KINDS or bool(name) == (kind == "gateway") or len(name) > _MOST:
        raise _bad("scope is user:NAME, key:ID, plan:NAME, tag:NAME=VALUE or gateway")
    if kind == "tag" and not all(name.partition("=")[::2]):
        raise _bad("a tag is written tag:NAME=VALUE")
    if principal.role != "admin" and (
        kind not in _OWN_KINDS or (kind == "user" and name != principal.user)
    ):
        raise ApiError(
            403,
            "forbidden",
            "this key sees the spend of its own user alone; leave scope out, or use an admin key",
            type="permission_error",
            param="scope",
        )
    return SpendScope(kind, name)


_MOST = 256


def _bad(message: str) -> ApiError:
    return ApiError(400, "invalid_parameter", message, param="scope")


# --- limits --------------------------------------------------------------------------------------


def limits_of(
    scope: SpendScope, policy: Policy, principals: Iterable[Principal], now_at: float
) -> list[tuple[Unit, str, int | None]]:
    """(unit, window, amount) of each limit of money and device time that holds now for a scope,
    the smallest of each; of a scope without any the month's money, without an amount.
    ``principals``: those to whom it may apply."""
    found: dict[tuple[Unit, str], int] = {}
    for claim in _claims(scope, policy, principals, now_at):
        key = claim.unit, claim.window
        ours = claim.scope == scope.text and claim.unit in _UNITS
        if ours and read_window(claim.window).period in _WINDOWS:
            found[key] = min(claim.limit, found.get(key, claim.limit))
    told = [(unit, window, amount) for (unit, window), amount in sorted(found.items())]
    return [*told] or [("nano_usd", "month", None)]


def _claims(
    scope: SpendScope, policy: Policy, principals: Iterable[Principal], now_at: float
) -> Iterator[Claim]:
    if scope.kind in ("plan", "gateway"):
        principals = [Principal(key_id="", user="", plan=scope.name)]
    elif scope.kind == "tag":
        name, _, value = scope.name.partition("=")
        principals = [Principal(key_id="", user="", tags={name: value})]
    for principal in principals:
        try:
            yield from compile_claims(principal, policy, now_at).held
        except ApiError:  # a plan that has gone
            continue


# --- what the ledger has -------------------------------------------------------------------------


async def hourly(
    ledger: Ledger, scope: SpendScope, principal: Principal, now_at: float
) -> HourlySpend:
    """Of the last weeks, and of every window that goes on. What nobody used is not in it, for no
    limit holds for it. Raises ReportRefused and StorageUnavailable."""
    since = now_at - HISTORY_S
    where = scope.where()
    if principal.role != "admin":
        where["user"] = principal.user
    query = UsageQuery(since=since // HOUR_S * HOUR_S, group_by=("hour", "kind"), where=where)
    return _by_hour((await ledger.usage(query)).rows)


def _by_hour(rows: Iterable[UsageRow]) -> HourlySpend:
    spent = HourlySpend(defaultdict(int), defaultdict(int))
    for row in rows:
        if row.group["kind"] != "idle":
            hour = int(datetime.datetime.fromisoformat(row.group["hour"]).timestamp() // HOUR_S)
            spent.nano_usd[hour] += row.cost_nano
            spent.gpu_us[hour] += row.gpu_us
    return spent


# --- what is told --------------------------------------------------------------------------------


def told(
    scope: SpendScope,
    spend: HourlySpend,
    limits: Iterable[tuple[Unit, str, int | None]],
    now_at: float,
) -> dict[str, Any]:
    """The forecast of each window. Amounts are exact decimal numbers in text."""
    windows = [_window(spend, *limit, now_at) for limit in limits]
    return {
        "object": "spend_forecast",
        "scope": scope.text,
        "at": iso(now_at, "seconds"),
        "windows": windows,
    }


def _window(
    spend: HourlySpend, unit: Unit, window: str, limit: int | None, now_at: float
) -> dict[str, Any]:
    start_us, end_us = bounds(window, round(now_at * MICRO))
    by_hour, first = spend.of(unit), start_us // MICRO // HOUR_S
    spent = sum(amount for hour, amount in by_hour.items() if hour >= first)
    ends_at = end_us / MICRO
    found = forecast(by_hour, now_at=now_at, ends_at=ends_at, spent=spent, limit=limit)
    return {
        "unit": _UNITS[unit],
        "window": window,
        "ends_at": iso(ends_at, "seconds"),
        "limit": None if limit is None else _amount(unit, limit),
        "spent": _amount(unit, spent),
        "expected": _amount(unit, found.expected),
        "low": _amount(unit, found.low),
        "high": _amount(unit, found.high),
        **_exhausted(found),
        "shape": found.shape,
        "history_hours": found.history_h,
    }


def _exhausted(found: SpendForecast) -> dict[str, str | None]:
    return {
        "exhausted_at": iso_or_none(found.exhausted_at, "minutes"),
        "earliest": iso_or_none(found.earliest, "minutes"),
        "latest": iso_or_none(found.latest, "minutes"),
    }


def _amount(unit: Unit, amount: int) -> str:
    return usd(amount) if unit == "nano_usd" else seconds(amount)
