"""/admin/webhooks: how endpoints stand, a test, and messages once more. For admin keys only."""

from __future__ import annotations

from typing import Any

from gateway.api.requests.bodies import parse_strict_json
from gateway.api.requests.request import Scope
from gateway.events import requests
from gateway.service import Gateway
from gateway.storage.base import StorageUnavailable
from gateway.storage.outbox import Outbox


async def list_webhooks(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Each endpoint of the policy, and what waits for it."""
    return 200, {"webhooks": await requests.listed(_outbox(gateway), gateway.active.policy)}


async def list_deliveries(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """The last attempts. Raises ApiError 404 for an unknown endpoint."""
    found = await requests.attempts_of(_outbox(gateway), gateway.active.policy, _name(scope))
    return 200, {"deliveries": found}


async def test_webhook(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Sends a test. Raises ApiError 404 for an unknown endpoint."""
    now_at = gateway.clock.time()
    return 200, await requests.send_test(
        _outbox(gateway), gateway.active.policy, _name(scope), now_at
    )


async def redeliver(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Sends a message, or the usage of a time, once more. Raises ApiError 400 and 404."""
    asked, now_at = parse_strict_json(body), gateway.clock.time()
    return 200, await requests.send_again(
        _outbox(gateway), gateway.active.policy, _name(scope), asked, now_at
    )


async def enable_webhook(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Asks an endpoint again that was disabled. Raises ApiError 404 for an unknown one."""
    return 200, await requests.enable_again(_outbox(gateway), gateway.active.policy, _name(scope))


def _name(scope: Scope) -> str:
    return str(scope["path_params"]["webhook"])


def _outbox(gateway: Gateway) -> Outbox:
    if gateway.notices is None:
        raise StorageUnavailable("this gateway has no outbox")
    return gateway.notices.outbox
