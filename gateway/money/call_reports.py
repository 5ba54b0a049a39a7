"""``/usage/{request id}``: one call as it is shown. Pure: rows in, JSON out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from adapters.errors import FailureClass
from gateway.money.charge_records import lines_of
from gateway.money.text import iso, iso_or_none
from gateway.storage.base import LedgerRow
from gateway.storage.history import HEDGED, OWN_ROW, AttemptRecord, CallHistory, SeenRecord
from gateway.types import MICRO, NANO

_TIMES = ("queue", "cold", "exec", "gpu")


def call_json(rows: Sequence[LedgerRow]) -> dict[str, Any]:
    """The body of ``/usage/{request_id}``: the call, every backend that failed it, those that were
    not asked then, what was decided, and what all attempts cost together. ``rows`` are a call's,
    its own first; raises ValueError when empty."""
    if not rows:
        raise ValueError("a call has at least one row")
    call = entry_json(rows[0])
    total = sum(row.cost_nano for row in rows)
    return call | {
        "object": "usage.call",
        "attempts": _attempts(rows),
        "not_asked": _reasons(() if rows[0].history is None else rows[0].history.not_asked),
        "decision": _decision(rows[0].history),
        "total_cost_usd": total / NANO,
        "total_cost_nano": total,
    }


def has_charged_attempts(call: LedgerRow) -> bool:
    """Whether attempts that failed it have rows of their own."""
    return call.history is not None and any(one.entry > 0 for one in call.history.attempts)


def _attempts(rows: Sequence[LedgerRow]) -> list[dict[str, Any]]:
    """All of one shape, whether they were free, have a row of their own or, as the last of a call
    that failed, are charged in the call's; of a call whose history was not kept, the second
    alone."""
    call = rows[0]
    charged = {row.id: row for row in rows[1:]}
    told = []
    for attempt in (call.history or CallHistory()).attempts:
        row = charged.pop(f"{call.id}#{attempt.entry}", None)
        told.append(_attempt(attempt, _in_own_row(call, attempt) if row is None else row))
    return [entry_json(row) | _UNTOLD for row in charged.values()] + told


_UNTOLD = {"message": "", "after_seconds": None, "seconds": None, "hedge": False}


def _attempt(attempt: AttemptRecord, row: LedgerRow) -> dict[str, Any]:
    return entry_json(row) | {
        "backend": attempt.backend,
        "error": attempt.failure,
        "message": attempt.message,
        "after_seconds": round(attempt.after_s, 6),
        "seconds": round(attempt.seconds, 6),
        "hedge": attempt.hedge,
    }


def _in_own_row(call: LedgerRow, attempt: AttemptRecord) -> LedgerRow:
    """What a row of its own would say of an attempt that has none."""
    began = call.started_at + attempt.after_s
    own = call if attempt.entry == OWN_ROW else _nothing_of(call)
    return msgspec.structs.replace(
        own,
        kind="attempt",
        outcome="cancelled" if attempt.failure == HEDGED else "error",
        started_at=began,
        ended_at=began + attempt.seconds,
        status=_STATUSES.get(attempt.failure, 0),
    )


_STATUSES = {kind.slug: kind.status for kind in FailureClass} | {HEDGED: 499}


def _nothing_of(call: LedgerRow) -> LedgerRow:
    """A row of the same caller and model that used nothing."""
    return LedgerRow(
        id=call.id,
        started_at=call.started_at,
        key_id=call.key_id,
        user=call.user,
        plan=call.plan,
        tags=call.tags,
        model=call.model,
        task=call.task,
        backend=call.backend,
        reason=call.reason,
        route=call.route,
        policy=call.policy,
        stream=call.stream,
    )


def _decision(history: CallHistory | None) -> dict[str, Any] | None:
    """The names are those of ``POST /v1/route/explain``."""
    if history is None:
        return None
    candidates = {quote.backend for quote in history.quotes}
    last_resorts = {name: code for name, code in history.refused if name in candidates}
    return {
        "slo_seconds": history.slo_s,
        "caller_region": history.region or None,
        "candidates": [
            {
                "backend": quote.backend,
                "last_resort": last_resorts.get(quote.backend),
                "predicted_delay_seconds": quote.delay_s,
                "cold_start": quote.cold,
                "predicted_load_seconds": quote.load_s,
                "reserved": quote.reserved,
                "predicted_price_usd": quote.marginal_nano / NANO,
                "predicted_charge_usd": quote.charge_nano / NANO,
                "hold_usd": quote.hold_nano / NANO,
                "saw": seen_as_json(quote.seen),
            }
            for quote in history.quotes
        ],
        "refused": _reasons(one for one in history.refused if one[0] not in candidates),
    }


def seen_as_json(seen: SeenRecord | None) -> dict[str, Any] | None:
    """How a backend stood, in the names of ``POST /v1/route/explain``."""
    if seen is None:
        return None
    return {
        "calls": seen.calls,
        "slots": seen.slots,
        "warm_idle": seen.warm_idle,
        "starting_for_seconds": seen.starting_for_s,
        "ready_in_seconds": seen.ready_in_s,
        "run_seconds": seen.run_s,
        "run_deviation_seconds": seen.run_deviation_s,
        "cold_p50_seconds": seen.cold_p50_s,
        "cold_p95_seconds": seen.cold_p95_s,
        "wait_after_seconds": seen.tail_s,
        "round_trip_seconds": seen.round_trip_s,
        "region": seen.region,
    }


def _reasons(each: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"backend": name, "reason": code} for name, code in each]


_ENTRY_TEXTS = (
    "id", "kind", "outcome", "user", "plan", "tags", "model", "task", "backend", "reason",
    "route", "policy", "status", "error", "stream", "input_tokens", "output_tokens",
    "cost_basis", "price", "worker",
)  # fmt: skip


def entry_json(row: LedgerRow) -> dict[str, Any]:
    """One row of the ledger."""
    entry: dict[str, Any] = {name: getattr(row, name) for name in _ENTRY_TEXTS}
    entry["key"] = row.key_id
    entry["started_at"] = iso(row.started_at, "milliseconds")
    entry["ended_at"] = iso_or_none(row.ended_at, "milliseconds")
    for name in _TIMES:
        entry[f"{name}_seconds"] = getattr(row, f"{name}_us") / MICRO
    entry["cost_usd"] = row.cost_nano / NANO
    entry["cost_nano"] = row.cost_nano
    entry["charged_by"] = _charged_by(row)
    return entry


def _charged_by(row: LedgerRow) -> dict[str, Any] | None:
    """The price as it was when the call was sent, and each part of the charge; their sum is
    ``cost_nano``. None of a row that keeps no price."""
    if row.history is None or row.history.price is None:
        return None
    record = row.history.price
    return {
        "fingerprint": record.fingerprint,
        "as_of": record.as_of or None,
        "bills": record.bills.split(","),
        "figures": record.figures,
        "parts": [msgspec.structs.asdict(line) for line in lines_of(row)],
    }
