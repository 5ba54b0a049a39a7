"""Calls whose gateway died: what their open rows say that they held is what they are charged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gateway.storage.base import Hold, LedgerRow
from gateway.types import Unit


def held_beside(row: LedgerRow) -> tuple[Hold, ...]:
    """What must be settled for an open row beside its claims, each under an id of its own."""
    return tuple(hold for hold in (row.at_backend, row.at_model) if hold is not None)


def interrupted(row: LedgerRow, now: float, failed: Sequence[LedgerRow] | None = None) -> LedgerRow:
    """The row of its end: nobody can say how far the backend went. ``now``: seconds since the
    epoch. ``failed``: the rows of its attempts before, of a call of which these are known; of
    others what is held may be spent already."""
    beside = [claim for hold in held_beside(row) for claim in hold.claims]
    held: dict[Unit, int] = {claim.unit: claim.take for claim in (*beside, *row.claims)}
    nano = row.hold_nano
    if failed is not None:
        nano, held = _of_the_last(row, held, failed)
    read, written = _held_tokens(held)
    return msgspec.structs.replace(
        row,
        outcome="interrupted",
        ended_at=now,
        error="interrupted",
        cost_nano=nano,
        cost_basis="estimated" if nano else "none",
        gpu_us=held.get("gpu_us", 0),
        input_tokens=read,
        output_tokens=written,
        claims=(),
        at_backend=None,
        at_model=None,
    )


def _of_the_last(
    row: LedgerRow, held: Mapping[Unit, int], failed: Sequence[LedgerRow]
) -> tuple[int, dict[Unit, int]]:
    """What the last attempt may have used, in nano-dollars and in other units: what those before
    have left of all that is held, and no more than its backend's own limits hold of it."""
    there = () if row.at_backend is None else row.at_backend.claims
    at_most: dict[Unit, int] = {claim.unit: claim.take for claim in there}
    left = dict(held)
    if "gpu_us" in left:
        left["gpu_us"] = max(0, left["gpu_us"] - sum(one.gpu_us for one in failed))
    left |= {unit: min(take, left.get(unit, take)) for unit, take in at_most.items()}
    nano = max(0, row.hold_nano - sum(one.cost_nano for one in failed))
    return min(nano, at_most.get("nano_usd", nano)), left


def _held_tokens(held: Mapping[Unit, int]) -> tuple[int, int]:
    """(input, output) of what was held; where only their sum is known, all of it is output."""
    read, written = held.get("input_tokens", 0), held.get("output_tokens", 0)
    rest = max(0, held.get("tokens", 0) - read - written)
    return (read + rest, written) if written else (read, rest)
