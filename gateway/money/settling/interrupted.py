"""Calls whose gateway died: what their open rows say that they held is what they are charged."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.storage.base import Hold, LedgerRow
from gateway.types import Unit


def held_beside(row: LedgerRow) -> tuple[Hold, ...]:
    """What must be settled for an open row beside its claims, each under an id of its own."""
    return tuple(hold for hold in (row.at_backend, row.at_model) if hold is not None)


def interrupted(row: LedgerRow, now: float) -> LedgerRow:
    """The row of its end: nobody can say how far the backend went. ``now``: seconds since the
    epoch."""
    beside = [claim for hold in held_beside(row) for claim in hold.claims]
    held = {claim.unit: claim.take for claim in (*beside, *row.claims)}
    read, written = _held_tokens(held)
    return msgspec.structs.replace(
        row,
        outcome="interrupted",
        ended_at=now,
        error="interrupted",
        cost_nano=row.hold_nano,
        cost_basis="estimated" if row.hold_nano else "none",
        gpu_us=held.get("gpu_us", 0),
        input_tokens=read,
        output_tokens=written,
        claims=(),
        at_backend=None,
        at_model=None,
    )


def _held_tokens(held: Mapping[Unit, int]) -> tuple[int, int]:
    """(input, output) of what was held; where only their sum is known, all of it is output."""
    read, written = held.get("input_tokens", 0), held.get("output_tokens", 0)
    rest = max(0, held.get("tokens", 0) - read - written)
    return (read + rest, written) if written else (read, rest)
