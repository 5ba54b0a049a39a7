"""``/usage/calls``: single calls, newest first, a page at a time. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.money.call_reports import entry_json
from gateway.money.usage_reports import parse_usage_query
from gateway.storage.base import LedgerRow
from gateway.storage.queries import CallsCursor, CallsQuery
from gateway.types import NANO, ApiError, Principal

_MOST = 1_000
_USUAL = 50
_OURS = ("limit", "after")


def parse_calls_query(
    params: Mapping[str, str], principal: Principal, *, now_at: float
) -> CallsQuery:
    """The query of ``/usage/calls?from=1h&outcome=error&limit=20``.

    ``from``, ``to`` and dimensions are those of ``parse_usage_query``, who sees what as well; of
    ``kind`` calls alone unless it is given, ``all`` for rows of every kind. ``after`` is the
    ``next`` of the page before. Raises ApiError.
    """
    if "group_by" in params:
        raise _bad("group_by", "calls are told one by one; GET /usage groups them")
    asked = {"kind": "call"}
    asked |= {name: value for name, value in params.items() if name not in _OURS}
    if asked["kind"] == "all":
        del asked["kind"]
    return CallsQuery(
        rows=parse_usage_query(asked, principal, now_at=now_at),
        most=_most(params.get("limit")),
        before=_cursor(params.get("after", "")),
    )


def _most(text: str | None) -> int:
    if text is None:
        return _USUAL
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= _MOST):
        raise _bad("limit", f"limit is a whole number from 1 to {_MOST}")
    return int(text)


def _cursor(text: str) -> CallsCursor | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=CallsCursor)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise _bad("after", "after is the `next` of the page before, as it was told") from None


def _bad(param: str, message: str) -> ApiError:
    return ApiError(400, "invalid_parameter", message, param=param)


def one_more(query: CallsQuery) -> CallsQuery:
    """What to ask the ledger, so that one knows whether there is a next page."""
    return msgspec.structs.replace(query, most=query.most + 1)


class CallsPage(msgspec.Struct, frozen=True):
    """Some of the rows that fit."""

    rows: Sequence[LedgerRow]
    totals: Mapping[str, int]
    """What each row's call has cost, in nano-dollars, with the attempts before that failed and were
    charged: what its caller was told."""
    next: str | None
    """``after`` of the page that follows; None on the last one."""


def page_of(
    rows: Sequence[LedgerRow], parts: Iterable[Sequence[LedgerRow]], query: CallsQuery
) -> CallsPage:
    """``rows`` are those of ``one_more``, ``parts`` all rows of each call whose attempts have
    some."""
    page = rows[: query.most]
    totals = {row.id: row.cost_nano for row in page}
    totals |= {one[0].id: sum(row.cost_nano for row in one) for one in parts if one}
    return CallsPage(page, totals, _written(page[-1]) if len(rows) > len(page) else None)


def calls_json(page: CallsPage) -> dict[str, Any]:
    """The body of ``/usage/calls``."""
    return {
        "object": "usage.calls",
        "data": [
            entry_json(row)
            | {"total_cost_usd": page.totals[row.id] / NANO, "total_cost_nano": page.totals[row.id]}
            for row in page.rows
        ],
        "next": page.next,
    }


def _written(row: LedgerRow) -> str:
    cursor = CallsCursor(row.started_at, row.id)
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()
