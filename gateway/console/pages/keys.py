"""Keys and budgets: who may come, what each may spend, and what is left of it."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import msgspec

from gateway.api.admin import keys as admin
from gateway.console.drawing.figures import midnight
from gateway.console.pages.budgets import budgets_of
from gateway.console.visits import sheets
from gateway.console.visits.acts import done
from gateway.console.visits.asking import report_of
from gateway.console.visits.spans import TimeSpan
from gateway.console.visits.visit import Given, HtmlPage, Onward, Sheet, Visit, link
from gateway.key_requests import as_json
from gateway.keys.delegation import Delegation
from gateway.money.limits import is_callers_own, unit_name
from gateway.storage.base import LimitStatus
from gateway.storage.key_records import KeyRecord
from gateway.types import MICRO, NANO, ApiError

_LIMITS = ("spend", "requests", "gpu_seconds", "tokens")


class OwnLimit(msgspec.Struct, frozen=True):
    """A limit of the reader's own, and how it stands; amounts in its unit."""

    scope: str
    unit: str
    window: str
    limit: float
    left: float
    resets_at: float | None


async def show(visit: Visit, problem: ApiError | None = None) -> HtmlPage:
    """A user's own keys, a delegate's team, all for an admin."""
    await visit.gateway.last_uses.write()
    records, month = await asyncio.gather(asyncio.to_thread(visit.gateway.keys.list), _month(visit))
    seen = [record for record in records if _sees(visit, record)]
    wanted = visit.params.get("state", "active")
    told = [as_json(record, visit.now_at) for record in seen]
    policy = visit.gateway.active.policy
    return HtmlPage(
        "keys.html",
        {
            "keys": [one for one in told if wanted == "all" or one["state"] == wanted][::-1],
            "counts": {name: sum(one["state"] == name for one in told) for name in _STATES},
            "all_count": len(told),
            "wanted": wanted,
            "spent": month,
            "own": await _own(visit),
            "budgets": budgets_of(policy.document, visit.now_at) if visit.is_admin else [],
            "plans": list(policy.plans),
            "problem": problem,
            "form": visit.form,
            "done": _DONE.get(visit.params.get("done", "")),
            "made": None,
        },
        400 if problem else 200,
    )


_STATES = ("active", "expired", "revoked")
_DONE = {"revoked": "The key is revoked: the next request with it is refused."}


async def sheet(visit: Visit) -> Sheet:
    """Without the keys themselves, which nobody has."""
    records = await asyncio.to_thread(visit.gateway.keys.list)
    spent = await _month(visit)
    head = ("id", "user", "plan", "role", "state", "hint", "limits", "created_at", "expires_at",
            "last_used_at", "usd_this_month")  # fmt: skip
    told = [as_json(record, visit.now_at) for record in records if _sees(visit, record)]
    rows = [
        (*(one[name] for name in head[:6]), msgspec.json.encode(one["limits"]).decode(),
         *(one[name] for name in head[7:10]), spent.get(one["id"], 0) / NANO)
        for one in told
    ]  # fmt: skip
    return sheets.sheet_of("keys", head, rows)


def _sees(visit: Visit, record: KeyRecord) -> bool:
    who = visit.who
    if who.role == "admin" or record.principal.user == who.user:
        return True
    return who.role == "delegate" and Delegation(by=who, ends_at=None).manages(record.principal)


async def _month(visit: Visit) -> dict[str, int]:
    """Key -> what it has spent since the first of the month."""
    days = datetime.datetime.fromtimestamp(visit.now_at, visit.tzinfo).day - 1
    since = midnight(visit.now_at, visit.tzinfo, days)
    span = TimeSpan("month", since, visit.now_at, visit.zone)
    report = await report_of(visit, span, ("key",), limit=1_000)
    return {row.group["key"]: row.cost_nano for row in report.rows}


async def _own(visit: Visit) -> list[OwnLimit]:
    """Those of the key that is signed in, and of its user."""
    try:
        template = visit.gateway.active.template(visit.who, now_at=visit.now_at)
    except ApiError:  # its plan has gone
        return []
    statuses = await visit.gateway.shared.statuses(template.limits)
    return [_limit(one, visit.now_at) for one in statuses if is_callers_own(one.claim)]


_UNITS = {"nano_usd": "dollars", "gpu_us": "seconds of a GPU"}
_PARTS = {"gpu_us": MICRO, "nano_usd": NANO}


def _limit(status: LimitStatus, now_at: float) -> OwnLimit:
    claim, part = status.claim, _PARTS.get(status.claim.unit, 1)
    return OwnLimit(
        scope=claim.scope.partition(":")[0],
        unit=_UNITS.get(claim.unit, unit_name(claim.unit)),
        window=claim.window,
        limit=claim.limit / part,
        left=status.likely / part,
        resets_at=round(now_at + status.reset_s) if claim.window else None,
    )


# --- acts ----------------------------------------------------------------------------------------


async def create(visit: Visit) -> Given:
    """Shows the key this once."""
    form = visit.form
    asked: dict[str, Any] = {"user": form.get("user", "").strip()}
    asked |= {"admin": True} if form.get("admin") else {}
    asked |= {name: form[name].strip() for name in ("plan", "expires_in") if form.get(name)}
    limits = {name: form[name].strip() for name in _LIMITS if form.get(name, "").strip()}
    asked |= {"limits": limits} if limits else {}
    tags = dict(pair.split("=", 1) for pair in form.get("tags", "").split() if "=" in pair)
    asked |= {"tags": tags} if tags else {}
    try:
        told = await done(visit, ("POST", "/admin/keys"), admin.create_key, {}, asked)
    except ApiError as error:
        if error.status != 400:
            raise
        return await show(visit, error)
    return HtmlPage("key.html", {"key": told, "verb": "made", "before_until": None})


async def rotate(visit: Visit) -> Given:
    """Another key in its place, shown this once."""
    route = ("POST", "/admin/keys/{key_id}/rotate")
    grace = visit.form.get("grace", "").strip()
    body = {"grace": grace} if grace else None
    told = await done(visit, route, admin.rotate_key, {"key_id": visit.form.get("key", "")}, body)
    before_until = told["old_key_until"] if grace else None
    return HtmlPage("key.html", {"key": told, "verb": "rotated", "before_until": before_until})


async def revoke(visit: Visit) -> Given:
    """At once."""
    route = ("DELETE", "/admin/keys/{key_id}")
    await done(visit, route, admin.revoke_key, {"key_id": visit.form.get("key", "")})
    return Onward(link("keys", {}) + "?done=revoked")
