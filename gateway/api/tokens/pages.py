"""/v1/tokens: what a key lends to browsers, made, listed and revoked by that key."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Sequence
from typing import Any

from gateway.api.admin.audited import act_of
from gateway.api.requests.bodies import parse_strict_json, read_body
from gateway.api.requests.request import Receive, RequestContext, Scope, Send, only, respond_json
from gateway.api_keys import digest_of
from gateway.money.scopes import tag_scope
from gateway.service import Gateway
from gateway.storage.base import Claim, LimitStatus, StorageUnavailable
from gateway.storage.client_tokens import TooManyTokens
from gateway.storage.key_records import KeyRecord
from gateway.tokens.asking import issue_token, read_token_request
from gateway.tokens.rate import count
from gateway.tokens.telling import token_json
from gateway.types import TOKEN_TAG, ApiError

_ID = re.compile(r"tok_\w{1,60}", re.ASCII)


class TokensEndpoint:
    """GET lists those of the key, of every key for an admin's; POST makes one, whose text is shown
    this once."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        if scope["method"] != "POST":
            only("GET", scope)
            await respond_json(send, context, {"data": await self._list(context)})
            return
        body = await read_body(self._gateway, context, receive)
        await respond_json(send, context, await self._make(scope, context, body), 201)

    async def _list(self, context: RequestContext) -> list[dict[str, Any]]:
        gateway, who = self._gateway, context.principal
        whose = None if who.role == "admin" else who.key_id
        records = await asyncio.to_thread(gateway.keys.tokens, whose)
        left, now_at = await _left(gateway, records), gateway.clock.time()
        return [token_json(one, now_at, left.get(one.principal.id)) for one in records]

    async def _make(self, scope: Scope, context: RequestContext, body: bytes) -> dict[str, Any]:
        """What is refused is in no log of administrators' acts: any key could fill that with it."""
        gateway, key = self._gateway, context.key()
        asked, lasts_s = read_token_request(
            parse_strict_json(body), context.principal, gateway.active.policy
        )
        await count(gateway.shared, "made", context.principal.key_id, context.request_id)
        now_at, ends_at = gateway.clock.time(), gateway.keys.ends_at(key)
        until = now_at + lasts_s if ends_at is None else min(now_at + lasts_s, ends_at)
        make = functools.partial(issue_token, gateway.keys, asked, digest_of(key), until)
        try:
            text, record = await asyncio.to_thread(make, act_of(gateway, "token.create", scope))
        except TooManyTokens as many:
            raise ApiError(
                429,
                "too_many_tokens",
                f"No token was made: {many}. Let them last shorter.",
                type="rate_limit_error",
                headers={"x-should-retry": "false"},
            ) from None
        return {**token_json(record, now_at), "token": text}


class TokenEndpoint:
    """DELETE /v1/tokens/{token}: ends it at once. Raises ApiError 404 for one that is not in use,
    or not of the key."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("DELETE", scope)
        await respond_json(send, context, await self._end(scope, context))

    async def _end(self, scope: Scope, context: RequestContext) -> dict[str, Any]:
        token_id: str = scope["path_params"]["token"]
        keys, who = self._gateway.keys, context.principal
        whose = None if who.role == "admin" else who.key_id
        found: Sequence[KeyRecord] = ()
        if _ID.fullmatch(token_id):
            found = await asyncio.to_thread(keys.tokens, whose, token_id)
        if not any(one.revoked_at is None for one in found) or not await self._revoke(
            scope, token_id
        ):
            raise ApiError(
                404,
                "token_not_found",
                f"Your key has no token {token_id[:64]!r} that is in use. GET /v1/tokens lists "
                "them by their ids, which begin with tok_.",
                param="token",
            )
        return {"id": token_id, "revoked": True}

    async def _revoke(self, scope: Scope, token_id: str) -> bool:
        context: RequestContext = scope["context"]
        gateway = self._gateway
        await count(gateway.shared, "revoked", context.principal.key_id, context.request_id)
        act = act_of(gateway, "token.revoke", scope)
        return await asyncio.to_thread(functools.partial(gateway.keys.revoke, token_id, act=act))


async def _left(gateway: Gateway, records: Sequence[KeyRecord]) -> dict[str, LimitStatus]:
    """Token -> how its cap stands; none while the shared store is silent."""
    claims = {
        one.principal.id: Claim(
            tag_scope(TOKEN_TAG, one.principal.id), limit.unit, limit.window, limit.amount, 0
        )
        for one in records
        if one.principal.token is not None
        for limit in one.principal.token.limits
        if limit.unit == "nano_usd"
    }
    try:
        statuses = await gateway.shared.statuses([*claims.values()])
    except StorageUnavailable:
        return {}
    return dict(zip(claims, statuses, strict=True))
