"""A recording from the ledger itself: the calls that ran, as they came."""

from __future__ import annotations

import msgspec

from gateway.replay.readers import from_midnight
from gateway.replay.traffic import Arrival
from gateway.storage.base import Ledger, LedgerRow
from gateway.storage.queries import CallsCursor, CallsQuery, UsageQuery
from gateway.types import MICRO

_PAGE = 500


def _arrival(row: LedgerRow, us: int) -> Arrival:
    tokens, written = row.input_tokens + row.output_tokens, row.output_tokens
    at, seconds = row.started_at, us / MICRO
    return Arrival(at, seconds, row.user, tokens, written, row.model, row.plan, row.stream)


async def calls_of(ledger: Ledger, model: str, since: float, until: float) -> list[Arrival]:
    """Of one model, between two instants since 1970, told from midnight (UTC) of the first day; in
    no order. Raises StorageUnavailable and ReportRefused as ``Ledger.calls``."""
    rows = UsageQuery(since=since, until=until, where={"model": model})
    query = CallsQuery(rows=rows, most=_PAGE)
    found: list[Arrival] = []
    while page := await ledger.calls(query):
        for row in page:
            us = row.exec_us or row.gpu_us
            if (row.kind, row.outcome) == ("call", "success") and us:
                found.append(_arrival(row, us))
        if len(page) < _PAGE:
            break
        cursor = CallsCursor(page[-1].started_at, page[-1].id)
        query = msgspec.structs.replace(query, before=cursor)
    return from_midnight(found) if found else found
