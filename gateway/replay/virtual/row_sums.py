"""A ledger that adds up what is settled, and keeps no row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from gateway.storage.base import LedgerRow
from gateway.storage.queries import CallsQuery, UsageQuery, UsageReport
from gateway.storage.spent import Side, Spent, SpentQuery


class RowSums:
    """Each row goes to ``settled``, once; of rows before its beginning it knows nothing."""

    identity = "replay"
    failing = ""

    def __init__(self, settled: Callable[[LedgerRow], None]) -> None:
        self._settled = settled

    async def open(self, row: LedgerRow) -> None:
        """It is settled later."""

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        """All of them."""
        for row in rows:
            self._settled(row)

    async def open_rows(self) -> list[LedgerRow]:
        """None."""
        return []

    async def take_abandoned(self) -> list[LedgerRow]:
        """None."""
        return []

    async def usage(self, query: UsageQuery) -> UsageReport:
        """Nobody asks: raises NotImplementedError."""
        raise NotImplementedError

    async def calls(self, query: CallsQuery) -> list[LedgerRow]:
        """Nobody asks: raises NotImplementedError."""
        raise NotImplementedError

    async def rows(self, request_id: str) -> list[LedgerRow]:
        """None."""
        return []

    async def spent_since(
        self, since: float, *, side: Side = "callers", step_us: int = 0
    ) -> list[Spent]:
        """Nothing."""
        return []

    async def sums(
        self, queries: Sequence[SpentQuery], still: Callable[[], AbstractAsyncContextManager[None]]
    ) -> list[list[Spent]]:
        """Nothing."""
        return [[] for _ in queries]

    async def calls_since(self, since: float) -> dict[tuple[str, int], int]:
        """None."""
        return {}

    async def aclose(self) -> None:
        """There is no file."""
