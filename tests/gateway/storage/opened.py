"""How a test opens a ledger or keys of whatever kind, and closes them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from gateway.storage.base import Ledger, LedgerRow
from gateway.storage.key_store import KeyStore

_PLACES = itertools.count(1)


class StoredLedger(Ledger, Protocol):
    """One that keeps sums beside its rows."""

    async def roll_up(self) -> int:
        """Adds a batch of settled rows to the sums; how many they were."""
        ...

    async def sum_up_four_weeks(self) -> bool:
        """Sums up four weeks that are over once more; whether there were any."""
        ...


class OpenLedger(Protocol):
    def __call__(self, place: str = "one", **options: Any) -> StoredLedger:
        """The ledger of a name: the same one for the same name. The test closes it."""
        ...


class OpenKeys(Protocol):
    def __call__(self, place: str = "one", **options: Any) -> KeyStore:
        """The same for keys, with the test's clock."""
        ...


@contextlib.asynccontextmanager
async def opened(open_ledger: OpenLedger, place: str = "one") -> AsyncIterator[StoredLedger]:
    ledger = open_ledger(place)
    try:
        yield ledger
    finally:
        await ledger.aclose()


@contextlib.asynccontextmanager
async def ledger_of(
    open_ledger: OpenLedger, rows: Sequence[LedgerRow]
) -> AsyncIterator[StoredLedger]:
    """A new one, with these rows."""
    async with opened(open_ledger, f"of{next(_PLACES)}") as ledger:
        for start in range(0, len(rows), 100):
            await ledger.settle(rows[start : start + 100])
        yield ledger
