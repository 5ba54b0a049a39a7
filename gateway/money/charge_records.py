"""What the ledger keeps of how a call was charged, and the same charge again from that. Pure.

A price of the policy may change or go; what a row was charged by stays beside it, so that each part
of its charge can be shown and added up for as long as the row is there.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from adapters.types import TokenParts, Usage
from gateway.money.pricing import ChargeLine, charge_lines
from gateway.policy.sections.price import RATES, Price
from gateway.storage.base import LedgerRow
from gateway.storage.history import CallHistory, PriceRecord
from gateway.types import MICRO

FIGURES = (*RATES, "per_hour", "minimum", "round_up")
"""All that decides over a charge, beside the seconds that are billed."""
BILLED = ("start", "run", "idle", "failed")
_PARTS = TokenParts.__struct_fields__
_NONE: dict[str, int] = {}
_THOUSAND = 1000


def record_of(price: Price) -> PriceRecord:
    """What is kept of a price in force: its figures, by which its charges can be done again, and
    a fingerprint of them."""
    given = {name: getattr(price, name) for name in FIGURES}
    figures = {name: figure for name, figure in given.items() if figure is not None}
    bills = ",".join(price.bills)
    text = msgspec.json.encode((sorted(figures.items()), bills))
    return PriceRecord(hashlib.sha256(text).hexdigest()[:12], price.as_of or "", bills, figures)


def price_of(record: PriceRecord) -> Price:
    """The price again, with the figures that were charged by."""
    figures: dict[str, Any] = dict(record.figures)
    figures["bills"] = tuple(one for one in BILLED if one in record.bills.split(","))
    return Price(**figures, as_of=record.as_of or None)


def amounts_of(used: Usage) -> dict[str, int]:
    """What is charged for and has no column of its own in a row."""
    unheard = used.images is None and used.audio_s is None
    if unheard and used.parts is None and used.cost_nano is None:
        return _NONE
    audio_ms = None if used.audio_s is None else round(used.audio_s * _THOUSAND)
    amounts = {"images": used.images, "audio_ms": audio_ms, "stated": used.cost_nano}
    if used.parts is not None:
        amounts |= {part: getattr(used.parts, part) or None for part in _PARTS}
    return {name: amount for name, amount in amounts.items() if amount is not None}


def charged_alone(history: CallHistory) -> CallHistory:
    """Of a failed attempt's row, whose call keeps the rest."""
    return CallHistory(price=history.price, amounts=history.amounts)


def lines_of(row: LedgerRow) -> tuple[ChargeLine, ...]:
    """What a settled row was charged for; nothing where the row does not say by what, as one that
    a dead process left, which is charged at what was held."""
    history = row.history
    if history is None or history.price is None or row.outcome == "interrupted":
        return ()
    return charge_lines(price_of(history.price), _usage_of(row, history.amounts))


def _usage_of(row: LedgerRow, amounts: dict[str, int]) -> Usage:
    parts = {name: amounts[name] for name in _PARTS if name in amounts}
    audio_ms = amounts.get("audio_ms")
    return Usage(
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cold_s=row.cold_us / MICRO,
        exec_s=row.exec_us / MICRO,
        gpu_s=row.gpu_us / MICRO,
        cost_nano=amounts.get("stated"),
        parts=TokenParts(**parts) if parts else None,
        images=amounts.get("images"),
        audio_s=None if audio_ms is None else audio_ms / _THOUSAND,
    )
