"""/admin/keys: for admins all keys, for a delegate those of its team."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import msgspec

from adapters.settings import parse_duration
from gateway.api.requests.bodies import parse_strict_json
from gateway.api.requests.request import RequestContext, Scope
from gateway.api_keys import generate_key, without_keys
from gateway.key_requests import as_json, issue, read_request
from gateway.keys.delegation import Delegation
from gateway.money.text import iso
from gateway.service import Gateway
from gateway.storage.key_records import KeyRecord
from gateway.types import ApiError


async def list_keys(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Every key that the asker may see, revoked ones too; of a key itself, its first characters
    alone."""
    delegation = _delegation(gateway, scope)
    await gateway.last_uses.write()
    records, now_at = await asyncio.to_thread(gateway.keys.list), gateway.clock.time()
    return 200, {
        "keys": [as_json(record, now_at) for record in records if _sees(delegation, record)]
    }


async def create_key(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Shows the key this once. Raises ApiError 403 for one beyond a delegate's rights."""
    delegation, policy = _delegation(gateway, scope), gateway.active.policy
    request = read_request(parse_strict_json(body), policy, delegation)
    now_at = gateway.clock.time()
    if delegation is not None:
        records = await asyncio.to_thread(gateway.keys.list)
        delegation.check(request.principal, request.ends_at(now_at), policy, records)
    key, record = await asyncio.to_thread(issue, gateway.keys, request, now_at, scope["act"])
    return 201, {**as_json(record, now_at), "key": key}


async def revoke_key(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Ends a key at once. Raises ApiError 404 for one that is not in use, or not of the team."""
    key_id: str = scope["path_params"]["key_id"]
    delegation = _delegation(gateway, scope)
    if delegation is not None:
        await _found(gateway, delegation, key_id)
    revoke = functools.partial(gateway.keys.revoke, key_id, act=scope["act"])
    if not await asyncio.to_thread(revoke):
        raise _not_found(key_id)
    return 200, {"id": key_id, "revoked": True}


async def rotate_key(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Shows the new key this once; the old one works for another ``grace``. Raises ApiError 404 as
    ``revoke_key``, and 403 for a key beyond a delegate's rights, which it would come to know."""
    key_id: str = scope["path_params"]["key_id"]
    grace, grace_s = _grace(body)
    delegation = _delegation(gateway, scope)
    if delegation is not None:
        record, records = await _found(gateway, delegation, key_id)
        delegation.check(record.principal, record.expires_at, gateway.active.policy, records)
    key, act = generate_key(), msgspec.structs.replace(scope["act"], details={"grace": grace})
    rotate = functools.partial(gateway.keys.rotate, key_id, key, grace_s=grace_s, act=act)
    try:
        record = await asyncio.to_thread(rotate)
    except ValueError:
        raise _not_found(key_id) from None
    now_at = gateway.clock.time()
    until = iso(now_at + grace_s, "seconds")
    return 200, {**as_json(record, now_at), "key": key, "old_key_until": until}


class _Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    grace: str = "0s"


def _grace(body: bytes) -> tuple[str, float]:
    try:
        asked = msgspec.convert(parse_strict_json(body), _Rotation) if body else _Rotation()
        return asked.grace, parse_duration(asked.grace)
    except (msgspec.ValidationError, ValueError) as error:
        message = f"grace is how long the old key still works, such as 1h: {error}"
        raise ApiError(400, "invalid_key_request", message, param="grace") from None


def _delegation(gateway: Gateway, scope: Scope) -> Delegation | None:
    """None for an admin, whom nothing here binds."""
    context: RequestContext = scope["context"]
    if context.principal.role == "admin":
        return None
    return Delegation(by=context.principal, ends_at=gateway.keys.ends_at(context.key()))


def _sees(delegation: Delegation | None, record: KeyRecord) -> bool:
    return delegation is None or delegation.manages(record.principal)


async def _found(
    gateway: Gateway, delegation: Delegation, key_id: str
) -> tuple[KeyRecord, list[KeyRecord]]:
    """A key of the team, and all keys."""
    records = await asyncio.to_thread(gateway.keys.list)
    for record in records:
        if record.principal.key_id == key_id and delegation.manages(record.principal):
            return record, records
    raise _not_found(key_id)


def _not_found(key_id: str) -> ApiError:
    return ApiError(
        404,
        "key_not_found",
        f"There is no key {without_keys(key_id)!r} that is in use. GET /admin/keys lists the "
        "ids, which begin with key_.",
        param="key_id",
    )
