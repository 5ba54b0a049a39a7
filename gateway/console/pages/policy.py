"""The policy: what is in force and since when, another one and how it differs, and the way back."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml

from gateway.api.admin import policy as admin
from gateway.api.requests.request import Scope
from gateway.console.visits import sheets
from gateway.console.visits.acts import done
from gateway.console.visits.replayed import HOURS, DraftPlayed, replayed
from gateway.console.visits.visit import Given, HtmlPage, Onward, Sheet, Visit, link
from gateway.types import ApiError

_SHOWN = 30
_AMOUNT = re.compile(r"[0-9][\w./ +-]{0,80}")
_DONE = {
    "applied": "The policy is in force.",
    "returned": "The earlier policy is in force again.",
}


class DiffLine(msgspec.Struct, frozen=True):
    """Of a unified diff: ``kind`` is added, removed, place or same."""

    kind: str
    text: str


async def show(visit: Visit) -> HtmlPage:
    """The policy in force, or the version that the path names, beside the one in force."""
    if visit.rest:
        return await _earlier(visit)
    return await _page(visit)


async def sheet(visit: Visit) -> Sheet:
    """What came into force."""
    _, told = await admin.history(visit.gateway, _asking(visit, "limit=500"), b"")
    head = ("number", "at", "act", "policy", "files", "actor", "address")
    rows = [[change[name] for name in head] for change in told["data"]]
    return sheets.sheet_of("policies", head, rows)


async def _page(
    visit: Visit,
    *,
    draft: str | None = None,
    found: dict[str, Any] | None = None,
    problem: ApiError | None = None,
    replay: DraftPlayed | None = None,
) -> HtmlPage:
    query = f"limit={_SHOWN}"
    _, history = await admin.history(visit.gateway, _asking(visit, query), b"")
    _, now = await admin.show(visit.gateway, visit.scope, b"")
    policy = visit.gateway.active.policy
    values = {
        "yaml": policy.document,
        "draft": draft,
        "found": found,
        "diff": None if found is None else diff_lines(found["diff"]),
        "problem": problem,
        "replay": replay,
        "replayed_hours": HOURS,
        "now": now,
        "changes": history["data"],
        "in_force": policy.version,
        "done": _DONE.get(visit.params.get("done", "")),
    }
    return HtmlPage("policy.html", values, problem.status if problem else 200)


async def _earlier(visit: Visit) -> HtmlPage:
    scope = {**visit.scope, "path_params": {"version": visit.rest}}
    _, told = await admin.earlier(visit.gateway, scope, b"")
    now = visit.gateway.active.policy.document
    lines = await asyncio.to_thread(_between, told["yaml"], now)
    return HtmlPage("policy-version.html", {"told": told, "diff": lines})


def _between(before: str, now: str) -> list[DiffLine]:
    pair = before.splitlines(keepends=True), now.splitlines(keepends=True)
    return diff_lines("".join(difflib.unified_diff(*pair, "then", "now")))


def diff_lines(text: str) -> list[DiffLine]:
    """A unified diff, told apart."""
    kinds = {"+": "added", "-": "removed", "@": "place"}
    return [
        DiffLine("same" if line.startswith(("+++", "---")) else kinds.get(line[:1], "same"), line)
        for line in text.splitlines()
    ]


def _asking(visit: Visit, query: str) -> Scope:
    return {**visit.scope, "query_string": query.encode()}


# --- acts ----------------------------------------------------------------------------------------


async def check(visit: Visit) -> Given:
    """What another policy would change; it is not put in force."""
    return await _checked(visit, visit.form.get("yaml", "").replace("\r\n", "\n"))


async def _checked(visit: Visit, draft: str) -> Given:
    try:
        _, found = await admin.validate(visit.gateway, visit.scope, draft.encode())
    except ApiError as error:
        return await _page(visit, draft=draft, problem=error)
    return await _page(visit, draft=draft, found=found)


async def replay(visit: Visit) -> Given:
    """What another policy would have cost over the calls of the last hours, beside its difference;
    it is not put in force."""
    draft = visit.form.get("yaml", "").replace("\r\n", "\n")
    found: dict[str, Any] | None = None
    try:
        _, found = await admin.validate(visit.gateway, visit.scope, draft.encode())
        told = await replayed(visit.gateway, draft, visit.now_at)
    except ApiError as error:
        return await _page(visit, draft=draft, found=found, problem=error)
    return await _page(visit, draft=draft, found=found, replay=told)


async def apply(visit: Visit) -> Given:
    """Puts it in force, where the one that was compared still is; else it is compared first."""
    draft = visit.form.get("yaml", "").replace("\r\n", "\n")
    expected = visit.form.get("expected", "")
    if not expected:
        return await _checked(visit, draft)
    route = ("PUT", "/admin/policy")
    try:
        await done(visit, route, admin.apply, {}, draft.encode(), f"expected={expected}")
    except ApiError as error:
        return await _page(visit, draft=draft, problem=error)
    return Onward(link("policy", {}) + "?done=applied")


async def roll_back(visit: Visit) -> Given:
    """To the version that the form names."""
    route = ("POST", "/admin/policy/rollback")
    body = {"version": visit.form.get("version", "")}
    try:
        await done(visit, route, admin.roll_back, {}, body)
    except ApiError as error:
        return await _page(visit, problem=error)
    return Onward(link("policy", {}) + "?done=returned")


async def set_limit(visit: Visit) -> Given:
    """A budget of the policy in force with another amount: shown as a difference first."""
    place, amount = visit.form.get("place", ""), visit.form.get("amount", "").strip()
    draft = with_amount(visit.gateway.active.policy.document, place.split("|"), amount)
    return await _checked(visit, draft)


def with_amount(document: str, place: Sequence[str], amount: str) -> str:
    """The policy's text, in which nothing but that one value is another. Raises ApiError 400."""
    node = yaml.compose(document, Loader=yaml.SafeLoader)
    for name in place:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for key, value in pairs if key.value == name), None)
    if not isinstance(node, yaml.ScalarNode) or place[-1] != "spend":
        words = "The policy in force has no such limit any more."
        raise ApiError(400, "invalid_parameter", words, param="place")
    if not _AMOUNT.fullmatch(amount):
        words = "An amount is written like 500 USD/month."
        raise ApiError(400, "invalid_parameter", words, param="amount")
    return document[: node.start_mark.index] + amount + document[node.end_mark.index :]
