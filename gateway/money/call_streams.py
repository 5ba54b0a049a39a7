"""Every single call, as a stream of JSON lines or CSV, newest first.

It is read a page at a time, and nothing of the ledger is held between two pages: whoever takes the
stream slowly, or not at all any more, keeps no reader busy and no more than a page in memory.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from gateway.money.call_lists import CallsPage, one_more, page_of
from gateway.money.call_reports import call_json, entry_json, has_charged_attempts
from gateway.money.text import safe_cell, usd
from gateway.storage.base import Ledger, LedgerRow
from gateway.storage.queries import CallsCursor, CallsQuery

PAGE = 500
FORMS: dict[str, bytes] = {
    "jsonl": b"application/jsonl; charset=utf-8",
    "csv": b"text/csv; charset=utf-8",
}
"""The names of the forms, and their types."""
_COLUMNS = (
    "id", "kind", "outcome", "started_at", "ended_at", "user", "key", "plan", "tags", "model",
    "task", "backend", "reason", "route", "policy", "status", "error", "stream", "input_tokens",
    "output_tokens", "queue_seconds", "cold_seconds", "exec_seconds", "gpu_seconds", "cost_usd",
    "cost_nano", "cost_basis", "price", "worker",
)  # fmt: skip


class CallStream:
    """The calls of ``query``, whose ``most`` is of no account, told before ``now_at``: those that
    come later are none of it. ``form`` is one of ``FORMS``. ``attempts``: with those that failed,
    as a call by itself is told."""

    def __init__(
        self, ledger: Ledger, query: CallsQuery, form: str, *, attempts: bool, now_at: float
    ) -> None:
        until = now_at if query.rows.until is None else query.rows.until
        rows = msgspec.structs.replace(query.rows, until=until)
        self._ledger = ledger
        self._query = msgspec.structs.replace(query, rows=rows, most=PAGE)
        self._form = form
        self._attempts = attempts

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Raises ValueError, ReportRefused and StorageUnavailable as ``Ledger.calls``; before the
        first piece, where the ledger cannot tell any."""
        query = self._query
        rows = await self._ledger.calls(query)
        yield _header() if self._form == "csv" else b""
        while rows:
            yield await self._told(rows)
            if len(rows) < PAGE:
                return
            last = rows[-1]
            query = msgspec.structs.replace(query, before=CallsCursor(last.started_at, last.id))
            rows = await self._ledger.calls(query)

    async def _told(self, rows: Sequence[LedgerRow]) -> bytes:
        if self._form == "csv":
            return _sheet([_cells(row) for row in rows])
        told = [await self._call(row) for row in rows]
        return b"".join(msgspec.json.encode(each) + b"\n" for each in told)

    async def _call(self, row: LedgerRow) -> dict[str, Any]:
        if not self._attempts or row.kind != "call":
            return entry_json(row)
        if has_charged_attempts(row):
            return call_json(await self._ledger.rows(row.id) or [row])
        return call_json([row])


async def read_page(ledger: Ledger, query: CallsQuery) -> CallsPage:
    """Raises StorageUnavailable, ReportRefused."""
    rows = await ledger.calls(one_more(query))
    shown = rows[: query.most]
    split = [row.id for row in shown if row.kind == "call" and has_charged_attempts(row)]
    return page_of(rows, await asyncio.gather(*map(ledger.rows, split)), query)


def _header() -> bytes:
    return _sheet([list(_COLUMNS)])


def _sheet(lines: Sequence[Sequence[Any]]) -> bytes:
    sheet = io.StringIO(newline="")
    csv.writer(sheet).writerows(lines)
    return sheet.getvalue().encode()


def _cells(row: LedgerRow) -> list[Any]:
    entry = entry_json(row)
    entry |= {"tags": json.dumps(row.tags), "cost_usd": usd(row.cost_nano, padded=True)}
    numbers = (*(name for name in _COLUMNS if name.endswith("_seconds")), "cost_usd")
    return [
        safe_cell(value) if isinstance(value, str) and name not in numbers else value
        for name, value in ((name, entry[name]) for name in _COLUMNS)
    ]
