"""A settlement whose rows the ledger has not taken, while the shared store may lose its memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.money.counted import charged_of
from gateway.storage.base import Hold, LedgerRow
from gateway.storage.claims import holds_rest, with_take
from gateway.storage.counters import TOTALS


class Part(NamedTuple):
    """What is held under an id of its own, and the rows of what was used of it."""

    hold: Hold
    rows: Sequence[LedgerRow]


class LateRows:
    """Rows that the ledger has not taken yet. The shared store counts what they were charged; where
    it has lost its memory it holds that instead, until there are rows."""

    def __init__(self, rows: Sequence[LedgerRow], parts: Sequence[Part]) -> None:
        self.rows = rows
        self.parts = parts
        self.is_held_again = False

    def amounts(self) -> Iterator[Hold]:
        """What is held again, by its id."""
        for hold, used in self.parts:
            charged = charged_of(used, holds_rest(hold.claims))
            claims = [
                with_take(claim, charged[claim.unit])
                for claim in hold.claims
                if claim.unit in TOTALS and charged.get(claim.unit, 0) > 0
            ]
            if claims:
                yield Hold(hold.id, tuple(claims))
