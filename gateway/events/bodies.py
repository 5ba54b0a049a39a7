"""What messages say: ``{"type", "timestamp", "data"}``. Pure.

Amounts are exact: money and device time are decimal numbers in text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.money.text import iso, iso_or_none, seconds, usd
from gateway.storage.base import LedgerRow
from gateway.storage.key_records import KeyRecord
from gateway.storage.outbox import Message, ToldOnce
from gateway.types import MICRO

USAGE = "usage.settled"
USAGE_BATCH = "usage.batch"
BUDGET_THRESHOLD = "budget.threshold"
BUDGET_REFUSED = "budget.refused"
KEY_ENDING = "key.ending"
TEST = "webhook.test"

MOST_BYTES = 256 * 1024
"""Of a body; more is not sent, and its data says so."""
_UNITS = {"nano_usd": "usd", "gpu_us": "gpu_seconds"}


def message(
    id: str, endpoint: str, topic: str, data: Any, at: float, identity: dict[str, Any]
) -> Message:
    """``identity``: what is told in place of ``data`` that is too large, beside its size."""
    body = _body(topic, data, at)
    if len(body) > MOST_BYTES:
        body = _body(topic, {**identity, "too_large": True, "bytes": len(body)}, at)
    return Message(id=id, endpoint=endpoint, topic=topic, body=body.decode())


def _body(topic: str, data: Any, at: float) -> bytes:
    told = {"type": topic, "timestamp": iso(at, "milliseconds"), "data": data}
    return msgspec.json.encode(told)


def usage_message(endpoint: str, rows: Sequence[LedgerRow], *, batched: bool) -> Message:
    """One row, or several of one batch; the same rows always give the same message."""
    first, last = rows[0], rows[-1]
    at = last.ended_at or last.started_at
    if not batched:
        id = f"usage_{_in_id(first.id)}"
        return message(id, endpoint, USAGE, usage(first), at, {"id": first.id})
    id = f"usage_batch_{len(rows)}_{_in_id(first.id)}"
    return message(
        id,
        endpoint,
        USAGE_BATCH,
        {"rows": [usage(row) for row in rows]},
        at,
        {"ids": [row.id for row in rows]},
    )


def _in_id(id: str) -> str:
    """An id as part of a ``webhook-id``, which holds no full stop; no two become one."""
    return quote(id, safe="").replace(".", "%2E")


def usage(row: LedgerRow) -> dict[str, Any]:
    """A settled row of the ledger. ``id`` is its own, by which a receiver counts it once."""
    return {
        "id": row.id,
        "kind": row.kind,
        "outcome": row.outcome,
        "started_at": iso(row.started_at, "milliseconds"),
        "ended_at": iso_or_none(row.ended_at, "milliseconds"),
        "user": row.user,
        "key": row.key_id,
        "plan": row.plan or None,
        "tags": row.tags,
        "model": row.model,
        "task": row.task,
        "backend": row.backend or None,
        "units": {
            "requests": int(row.kind == "call"),
            "input_tokens": row.input_tokens,
            "output_tokens": row.output_tokens,
            "gpu_seconds": seconds(row.gpu_us),
        },
        "cost_usd": usd(row.cost_nano),
        "cost_basis": row.cost_basis,
        "price": row.price or None,
        "policy": row.policy,
    }


def budget_message(endpoint: str, fact: ToldOnce, spent: int, at: float) -> Message:
    """That a limit was reached, or refused somebody."""
    refused = fact.step == "refused"
    topic = BUDGET_REFUSED if refused else BUDGET_THRESHOLD
    data = budget(fact, spent)
    parts = (fact.scope, fact.unit, fact.window, str(fact.ends_at), str(fact.limit), fact.step)
    id = "_".join(["budget", *(_in_id(part) for part in parts)])
    return message(id, endpoint, topic, data, at, {"scope": fact.scope})


def budget(fact: ToldOnce, spent: int) -> dict[str, Any]:
    """``spent`` nano-dollars or microseconds; amounts as decimal numbers in text."""
    kind, _, name = fact.scope.partition(":")
    return {
        "scope": kind,
        "name": name or None,
        "unit": _UNITS.get(fact.unit, fact.unit),
        "window": fact.window,
        "resets_at": iso(fact.ends_at / MICRO, "seconds"),
        "limit": amount(fact, fact.limit),
        "spent": amount(fact, spent),
        "percent": None if fact.step == "refused" else int(fact.step),
    }


def key_message(endpoint: str, fact: ToldOnce, record: KeyRecord, at: float) -> Message:
    """That a key will end."""
    principal = record.principal
    data = {
        "key": principal.key_id,
        "user": principal.user,
        "plan": principal.plan or None,
        "role": principal.role,
        "tags": principal.tags,
        "expires_at": iso(fact.ends_at / MICRO, "seconds"),
        "last_used_at": iso_or_none(record.last_used_at, "seconds"),
        "notice_s": int(fact.step),
    }
    parts = (principal.key_id, str(fact.ends_at), fact.step)
    id = "_".join(["key", *(_in_id(part) for part in parts)])
    return message(id, endpoint, KEY_ENDING, data, at, {"key": principal.key_id})


def amount(fact: ToldOnce, value: int) -> str:
    """Of the fact's unit, exactly: dollars or seconds."""
    return usd(value) if fact.unit == "nano_usd" else seconds(value)


def sample(endpoint: str, id: str, at: float) -> Message:
    """What a receiver is sent to see whether it takes messages."""
    data = {"endpoint": endpoint, "note": "A test: nothing has happened."}
    return message(id, endpoint, TEST, data, at, {})
