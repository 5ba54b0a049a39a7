"""A recording from the ledger itself: the calls that ran, as they came."""

from __future__ import annotations

import msgspec

from gateway.replay.readers import from_midnight
from gateway.replay.traffic import Arrival
from gateway.storage.base import Ledger
from gateway.storage.queries import CallsCursor, CallsQuery, UsageQuery
from gateway.types import MICRO

_PAGE = 500


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
                tokens = row.input_tokens + row.output_tokens
                found.append(Arrival(row.started_at, us / MICRO, row.user, tokens))
        if len(page) < _PAGE:
            break
        cursor = CallsCursor(page[-1].started_at, page[-1].id)
        query = msgspec.structs.replace(query, before=cursor)
    return from_midnight(found) if found else found
