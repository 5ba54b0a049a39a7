"""What each key has spent, by the ledger."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

from gateway.opening.stores import open_ledger
from gateway.policy.model import Policy
from gateway.storage.queries import UsageQuery, UsageReport
from gateway.store_urls import LedgerFile
from gateway.types import NANO


def spent_by_key(policy: Policy, now_at: float) -> dict[str, float]:
    """Key id -> US dollars since the month began, UTC; keys that spent nothing are left out.
    Raises StorageUnavailable."""
    place = policy.store.ledger
    if isinstance(place, LedgerFile) and not Path(place.path).exists():
        return {}
    now = datetime.datetime.fromtimestamp(now_at, datetime.UTC)
    began = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    query = UsageQuery(since=began, until=None, group_by=("key",), where={}, limit=None)
    report = asyncio.run(_read(policy, query))
    return {row.group["key"]: row.cost_nano / NANO for row in report.rows}


async def _read(policy: Policy, query: UsageQuery) -> UsageReport:
    ledger = open_ledger(policy)
    try:
        return await ledger.usage(query)
    finally:
        await ledger.aclose()
