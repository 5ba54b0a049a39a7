"""Rows that are settled while sums are read: what these lack."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from gateway.storage.base import LedgerRow


class TakesRows(Protocol):
    """What a ``Ledger`` is to whoever settles calls in it."""

    def settle(self, rows: Sequence[LedgerRow]) -> Awaitable[None]:
        """As a ``Ledger`` does."""
        ...

    @property
    def failing(self) -> str:
        """Why the last write failed; empty while writes succeed."""
        ...


class NotedRows:
    """``rows`` are those that the ledger has taken since the sums' instant."""

    def __init__(self, ledger: TakesRows) -> None:
        self._ledger = ledger
        self.summed: set[str] = set()
        """Calls whose rows it had at that instant, though it has not said so."""
        self.rows: list[LedgerRow] = []

    @property
    def failing(self) -> str:
        """As the ledger's."""
        return self._ledger.failing

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        """As the ledger does."""
        await self._ledger.settle(rows)
        self.note(rows)

    def note(self, rows: Sequence[LedgerRow]) -> None:
        """It has taken a call's rows."""
        if rows[0].id not in self.summed:
            self.rows += rows
