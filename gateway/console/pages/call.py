"""One call's record: why there, why that price, why so long."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from gateway.api_keys import without_keys
from gateway.console.drawing.figures import duration
from gateway.console.drawing.words import REASONS, VERDICTS
from gateway.console.visits.standings import reserved_names
from gateway.console.visits.visit import HtmlPage, Visit
from gateway.money.call_reports import call_json
from gateway.money.price_comparison import told_quantity
from gateway.money.usage_reports import may_see
from gateway.storage.base import LedgerRow
from gateway.storage.history import HEDGED
from gateway.types import MICRO, NANO, ApiError

_SHORTEST = 0.012
"""A part of the bar is at least so much of it, or nobody would see it."""


class TimePart(msgspec.Struct, frozen=True):
    """Of the bar of time: percents of its width."""

    name: str
    seconds: float
    meaning: str
    left: float
    width: float


async def show(visit: Visit) -> HtmlPage:
    """Raises ApiError 404 for one that was never made, or by another user."""
    rows = await visit.gateway.ledger.rows(visit.rest)
    if not visit.rest or not rows or not may_see(visit.who, rows[0].user, rows[0].tags):
        archivist = None if rows else visit.gateway.archivist
        where = "" if archivist is None else f" {archivist.where(visit.rest)}"
        words = f"There is no call {without_keys(visit.rest)!r}.{where.rstrip()}"
        raise ApiError(404, "call_not_found", words, param="request_id")
    call, told = rows[0], call_json(rows)
    return HtmlPage(
        "call.html",
        {
            "call": call,
            "told": told,
            "candidates": _candidates(told),
            "parts_of_time": _parts(call, told, reserved_names(visit)),
            "total_s": _total_s(call),
            "quote": _quote_of(told),
            "reason": REASONS.get(call.reason, ""),
            "charges": _charges(told),
            "total_nano": told["total_cost_nano"],
            "delay_s": (call.queue_us + call.cold_us) / MICRO,
        },
    )


def _charges(told: dict[str, Any]) -> list[dict[str, Any]]:
    """What was charged for; rates of nothing are left out."""
    parts = [] if told["charged_by"] is None else told["charged_by"]["parts"]
    return [
        part | {"amount": told_quantity(part["item"], part["quantity"])}
        for part in parts
        if part["rate_nano"] or part["cost_nano"]
    ]


def _total_s(call: LedgerRow) -> float | None:
    return None if call.ended_at is None else max(0.0, call.ended_at - call.started_at)


def _quote_of(told: dict[str, Any]) -> dict[str, Any] | None:
    """What was predicted of the backend that answered."""
    candidates = (told["decision"] or {}).get("candidates", [])
    found: dict[str, Any] | None = next(
        (one for one in candidates if one["backend"] == told["backend"]), None
    )
    return found


# --- the bar of time -----------------------------------------------------------------------------


def _parts(call: LedgerRow, told: dict[str, Any], ours: Collection[str]) -> list[TimePart]:
    total = _total_s(call)
    if not total:
        return []
    lasted = _lasted(call, told, total, ours)
    shares = [max(_SHORTEST, seconds / total) for _, seconds, _ in lasted]
    parts, left = [], 0.0
    for (name, seconds, meaning), part in zip(lasted, shares, strict=True):
        width = part / sum(shares) * 100
        parts.append(TimePart(name, seconds, meaning, left, width))
        left += width
    return parts


def _lasted(
    call: LedgerRow, told: dict[str, Any], total: float, ours: Collection[str]
) -> Sequence[tuple[str, float, str]]:
    """(what, seconds, colour), one after the other: attempts that failed, then the one that did
    not. Of one that ran beside another the time alone that it ran before. ``ours`` are reserved
    backends."""
    found: list[tuple[str, float, str]] = []
    at, run, cold = 0.0, call.exec_us / MICRO, call.cold_us / MICRO
    for attempt in told["attempts"]:
        if attempt["after_seconds"] is None or attempt["hedge"]:
            continue
        found.append(("in line", max(0.0, attempt["after_seconds"] - at), "idle"))
        lasted, how = attempt["seconds"], attempt["error"]
        if how == HEDGED:
            alone = total - run - cold - attempt["after_seconds"]
            lasted, how = min(lasted, max(0.0, alone)), "left"
        found.append((f"{attempt['backend']}: {how}", lasted, "ink"))
        at = attempt["after_seconds"] + lasted
    found.append(("in line, and the gateway", max(0.0, total - at - run - cold), "idle"))
    found.append((f"{call.backend} starts", cold, "cold"))
    meaning = "reserved" if call.backend in ours else "overflow"
    found.append((f"{call.backend} runs", min(run, max(0.0, total - at)), meaning))
    return [one for one in found if one[1] > 0]


# --- the candidates ------------------------------------------------------------------------------


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """A backend that could have answered."""

    backend: str
    delay: str = ""
    adds_nano: int | None = None
    is_reserved: bool = False
    saw: str = ""
    verdict: str
    won: bool = False


def _candidates(told: dict[str, Any]) -> list[Option]:
    decision = told["decision"]
    if decision is None:
        return []
    tried = [one["backend"] for one in told["attempts"] if one["after_seconds"] is not None]
    failed = {one["backend"]: one for one in told["attempts"]}
    left_out = {one["backend"]: one["reason"] for one in told["not_asked"]}
    options = [
        Option(
            backend=quote["backend"],
            delay=_delay(quote),
            adds_nano=round(quote["predicted_price_usd"] * NANO),
            is_reserved=quote["reserved"],
            saw=_saw(quote),
            verdict=_verdict(quote, told, tried, failed, left_out),
            won=quote["backend"] == told["backend"] and told["outcome"] == "success",
        )
        for quote in decision["candidates"]
    ]
    refused = [
        Option(backend=one["backend"], verdict=VERDICTS.get(one["reason"], one["reason"]))
        for one in decision["refused"]
    ]
    return options + refused


def _delay(quote: dict[str, Any]) -> str:
    text = duration(quote["predicted_delay_seconds"])
    return f"{text}, a cold start" if quote["cold_start"] else text


def _saw(quote: dict[str, Any]) -> str:
    saw = quote["saw"]
    if saw is None:
        return ""
    words = []
    if saw["slots"] is not None:
        words.append(f"{min(saw['calls'], saw['slots'])} of {saw['slots']} busy")
        if saw["calls"] > saw["slots"]:
            words.append(f"{saw['calls'] - saw['slots']} before it")
    else:
        words.append(f"{saw['calls']} there")
    if saw["warm_idle"]:
        words.append(f"{saw['warm_idle']} warm and idle")
    if saw["starting_for_seconds"] is not None:
        words.append(f"one starting for {duration(saw['starting_for_seconds'])}")
    words.append(f"a call runs {duration(saw['run_seconds'])}")
    return ", ".join(words)


def _verdict(
    quote: dict[str, Any],
    told: dict[str, Any],
    tried: list[str],
    failed: dict[str, dict[str, Any]],
    left_out: dict[str, str],
) -> str:
    name = quote["backend"]
    if name in failed and name in tried:
        one = failed[name]
        order = "first" if tried[0] == name else f"as number {tried.index(name) + 1}"
        how = "left" if one["error"] == HEDGED else one["error"]
        return f"asked {order}: {how} after {duration(one['seconds'])}"
    if name == told["backend"]:
        order = f"as number {len(tried) + 1}" if tried else "first"
        return f"asked {order}: {'answered' if told['outcome'] == 'success' else told['outcome']}"
    if name in left_out:
        return f"not asked: {VERDICTS.get(left_out[name], left_out[name])}"
    slo = told["decision"]["slo_seconds"]
    if slo and quote["predicted_delay_seconds"] > slo:
        return f"would break the promise of {duration(slo)}"
    return "not needed: the others came before it"
