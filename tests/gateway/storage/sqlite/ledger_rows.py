"""Rows for the tests of the ledger, strategies for any row, and ledgers that close themselves."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gateway.storage.base import Claim, LedgerRow
from gateway.storage.sqlite.ledger import SqliteLedger

NOON = 1_767_268_800.0
"""2026-01-01 12:00 UTC, a Thursday."""

CLAIMS = (
    Claim("user:alice", "nano_usd", "month", 5_000, 700),
    Claim("gateway", "requests", "", 9, 1),
)


def open_row(id: str = "r1", **fields: Any) -> LedgerRow:
    row: dict[str, Any] = {
        "started_at": NOON,
        "key_id": "k1",
        "user": "alice",
        "model": "minilm",
        "task": "embeddings",
        "backend": "home",
        "claims": CLAIMS,
    }
    return LedgerRow(id=id, **row | fields)


def settled_row(id: str = "r1", **fields: Any) -> LedgerRow:
    row = {"outcome": "success", "ended_at": NOON + 1.5, "status": 200, "claims": ()}
    return open_row(id, **row | fields)


_names = st.sampled_from(["alice", "bob", "", "O'Brien", '"quoted"', "=1+1", "naïve", "a,b\r\nc"])
_counts = st.integers(min_value=0, max_value=2**40)

settled_rows = st.builds(
    settled_row,
    kind=st.sampled_from(["call", "attempt", "ping"]),
    outcome=st.sampled_from(["success", "error", "cancelled", "interrupted"]),
    started_at=st.integers(0, 72).map(lambda hours: NOON + hours * 1800.0),
    key_id=_names,
    user=_names,
    plan=_names,
    model=_names,
    tags=st.dictionaries(st.sampled_from(["team", "cost.center", "größe"]), _names, max_size=2),
    input_tokens=_counts,
    output_tokens=_counts,
    queue_us=_counts,
    cold_us=st.one_of(st.just(0), _counts),
    exec_us=_counts,
    gpu_us=_counts,
    cost_nano=_counts,
)


@contextlib.asynccontextmanager
async def ledger_at(path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(path)
    try:
        yield ledger
    finally:
        await ledger.aclose()


@contextlib.asynccontextmanager
async def ledger_of(rows: Sequence[LedgerRow]) -> AsyncIterator[SqliteLedger]:
    with tempfile.TemporaryDirectory() as folder:
        async with ledger_at(Path(folder) / "ledger.db") as ledger:
            for start in range(0, len(rows), 100):
                await ledger.settle(rows[start : start + 100])
            yield ledger
