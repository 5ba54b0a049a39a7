"""GET /usage, /usage/calls and /usage/{request_id}: who spent what, and in which calls.

A user sees their own, an admin all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from functools import partial
from urllib.parse import parse_qsl

from gateway.api.requests.request import (
    JSON,
    Header,
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
    respond,
    respond_json,
)
from gateway.api_keys import without_keys
from gateway.money.call_lists import calls_json, parse_calls_query
from gateway.money.call_reports import call_json
from gateway.money.call_streams import FORMS, CallStream, read_page
from gateway.money.focus import contract_commitments, cost_and_usage, focus_query
from gateway.money.usage_reports import (
    as_csv,
    as_json_bytes,
    may_see,
    parse_usage_query,
    refusal_of,
    yes,
)
from gateway.policy.model import Policy
from gateway.service import Gateway
from gateway.storage.base import ReportRefused
from gateway.storage.queries import UsageQuery, UsageReport
from gateway.types import ApiError

_CSV: Header = (b"content-type", b"text/csv; charset=utf-8")
_FORMS = ("json", "csv", "focus", "focus-commitments")
_LEFT_OUT = b"x-spillgate-groups-left-out"
_SHORT = 200
"""A report of so many groups is written on the event loop, in a millisecond or two."""


class UsageEndpoint:
    """GET /usage, as JSON, as CSV where ``format`` or Accept say so, or as FOCUS."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        params = _params(scope)
        form = _form(params.pop("format", None), context)
        query = parse_usage_query(params, context.principal, now_at=self._gateway.clock.time())
        policy = self._gateway.active.policy
        if form == "focus-commitments":
            only_admin(context)
            body = contract_commitments(policy, self._gateway.clock.time()).encode()
            await respond(send, context, 200, body, [_CSV])
            return
        if form == "focus":
            query = focus_query(query)
        try:
            report = await self._gateway.ledger.usage(query)
        except ReportRefused as refused:
            raise refusal_of(refused) from None
        write = partial(_written, form, report, query, policy)
        body = write() if len(report.rows) <= _SHORT else await asyncio.to_thread(write)
        left_out = (_LEFT_OUT, str(report.groups_left_out).encode())
        await respond(send, context, 200, body, [JSON if form == "json" else _CSV, left_out])


def _params(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def _written(form: str, report: UsageReport, query: UsageQuery, policy: Policy) -> bytes:
    if form == "focus":
        return cost_and_usage(report, policy).encode()
    return as_csv(report, query).encode() if form == "csv" else as_json_bytes(report, query)


def only_admin(context: RequestContext) -> None:
    """Raises ApiError for a key that is none of an admin's."""
    if context.principal.role != "admin":
        raise ApiError(
            403,
            "forbidden",
            "commitments are shown to an admin's key alone",
            type="permission_error",
            param="format",
        )


def _form(asked: str | None, context: RequestContext) -> str:
    if asked is None:
        return "csv" if b"text/csv" in context.headers.get(b"accept", b"") else "json"
    if asked not in _FORMS:
        words = f"format={asked} is none of {', '.join(_FORMS)}."
        raise ApiError(400, "invalid_parameter", words, param="format")
    return asked


class CallsEndpoint:
    """GET /usage/calls: single calls that have ended, newest first: a page at a time, or all
    of them as a stream of JSON lines or CSV."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        now_at = self._gateway.clock.time()
        params = _params(scope)
        form = params.pop("format", "json")
        attempts = yes("attempts", params.pop("attempts", "false"))
        if form not in ("json", *FORMS):
            words = f"format={form} is none of json, {', '.join(FORMS)}."
            raise ApiError(400, "invalid_parameter", words, param="format")
        query = parse_calls_query(params, context.principal, now_at=now_at)
        if attempts and form != "jsonl":
            words = "attempts are told of each call with format=jsonl; of one, at its own address"
            raise ApiError(400, "invalid_parameter", words, param="attempts")
        if form != "json":
            stream = CallStream(self._gateway.ledger, query, form, attempts=attempts, now_at=now_at)
            await _respond_stream(send, context, stream.pieces(), FORMS[form])
            return
        try:
            page = await read_page(self._gateway.ledger, query)
        except ReportRefused as refused:
            raise refusal_of(refused) from None
        await respond_json(send, context, calls_json(page))


async def _respond_stream(
    send: Send, context: RequestContext, pieces: AsyncGenerator[bytes, None], content_type: bytes
) -> None:
    """Each piece when the last one was taken. A stream that cannot go on is cut, without its
    end."""
    async with contextlib.aclosing(pieces):
        try:
            first = await anext(pieces)
        except ReportRefused as refused:
            raise refusal_of(refused) from None
        headers = [(b"content-type", content_type), (b"x-request-id", context.request_id.encode())]
        context.begun = True
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if first:
            await send({"type": "http.response.body", "body": first, "more_body": True})
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class CallUsageEndpoint:
    """One call's rows, by its request id. Raises ApiError 404 for one that was never made, or by
    another user."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        request_id: str = scope["path_params"]["request_id"]
        try:
            rows = await self._gateway.ledger.rows(request_id)
        except ReportRefused as refused:
            raise refusal_of(refused) from None
        if not rows or not may_see(context.principal, rows[0].user, rows[0].tags):
            # Another user's call answers as one that never was.
            archivist = None if rows else self._gateway.archivist
            where = "" if archivist is None else f" {archivist.where(request_id)}"
            raise ApiError(
                404,
                "call_not_found",
                f"There is no call {without_keys(request_id)!r}.{where.rstrip()}",
                param="request_id",
            )
        await respond_json(send, context, call_json(rows))
