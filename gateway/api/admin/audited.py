"""Administrative acts by HTTP leave entries in the audit log, and what cannot be audited is not
done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from gateway.api.requests.request import RequestContext, Scope
from gateway.api_keys import without_keys
from gateway.keys.audit import audit_json, one_more, parse_audit_query
from gateway.service import Gateway
from gateway.storage.audit import Act
from gateway.storage.base import StorageUnavailable
from gateway.types import ApiError, Principal

log = logging.getLogger("spillgate")

ACTS = {
    ("POST", "/admin/keys"): "key.create",
    ("DELETE", "/admin/keys/{key_id}"): "key.revoke",
    ("POST", "/admin/keys/{key_id}/rotate"): "key.rotate",
    ("POST", "/admin/backends/{backend:path}/drain"): "backend.drain",
    ("POST", "/admin/backends/{backend:path}/enable"): "backend.enable",
    ("POST", "/admin/backends/{backend:path}/ping"): "backend.ping",
    ("POST", "/admin/webhooks/{webhook:path}/test"): "webhook.test",
    ("POST", "/admin/webhooks/{webhook:path}/redeliver"): "webhook.redeliver",
    ("POST", "/admin/webhooks/{webhook:path}/enable"): "webhook.enable",
    ("PUT", "/admin/policy"): "policy.apply",
    ("POST", "/admin/policy/apply"): "policy.apply",
    ("POST", "/admin/policy/shadow"): "policy.try_out",
    ("DELETE", "/admin/policy/shadow"): "policy.end_trial",
    ("POST", "/admin/policy/rollback"): "policy.roll_back",
}
"""(method, route) -> how the act is called; whatever is not here changes nothing."""
_WITH_THE_CHANGE = ("key.create", "key.revoke", "key.rotate")
"""Their entry is written in the transaction of the change itself."""


async def audited(
    gateway: Gateway,
    name: str,
    scope: Scope,
    run: Callable[[], Awaitable[tuple[int, Any]]],
    **details: str,
) -> tuple[int, Any]:
    """What ``run`` returns. Its act is in ``scope`` for those that write it themselves. Raises
    StorageUnavailable, and nothing is done, where no entry can be written."""
    act = scope["act"] = msgspec.structs.replace(act_of(gateway, name, scope), details=details)
    if name not in _WITH_THE_CHANGE:
        await _record(gateway, act, "begun")
    try:
        status, value = await run()
    except ApiError as error:
        await _record(gateway, act, f"refused: {error.code}")
        raise
    except StorageUnavailable:
        raise
    except Exception as error:
        await _ended(gateway, act, f"failed: {type(error).__name__}")
        raise
    if name not in _WITH_THE_CHANGE:
        await _ended(gateway, act, "done")
    return status, value


def act_of(gateway: Gateway, name: str, scope: Scope) -> Act:
    """What a request is about to do."""
    context: RequestContext = scope["context"]
    return Act(
        at=gateway.clock.time(),
        actor=_actor(context.principal),
        address=context.client,
        act=name,
        target=without_keys(" ".join(scope.get("path_params", {}).values())),
    )


def _actor(principal: Principal) -> str:
    """A key, the system's user on the gateway's own machine, or whom a provider has named."""
    is_key = not principal.key_id.startswith(("os:", "oidc:"))
    return f"key:{principal.key_id}" if is_key else principal.key_id


async def _record(gateway: Gateway, act: Act, outcome: str) -> None:
    entry = msgspec.structs.replace(act, at=gateway.clock.time(), outcome=outcome)
    await asyncio.to_thread(gateway.keys.record, entry)


async def _ended(gateway: Gateway, act: Act, outcome: str) -> None:
    """Of what cannot be undone any more: its beginning stands in the audit log."""
    try:
        await _record(gateway, act, outcome)
    except StorageUnavailable as unavailable:
        log.error("the audit log lacks that %s is %s: %s", act.act, outcome, unavailable)


async def list_acts(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """The audit log, newest first, a page at a time. Raises ApiError 400."""
    text = scope["query_string"].decode("latin-1")
    query = parse_audit_query(dict(parse_qsl(text, keep_blank_values=True)))
    entries = await asyncio.to_thread(gateway.keys.audit, one_more(query))
    return 200, audit_json(entries, query)
