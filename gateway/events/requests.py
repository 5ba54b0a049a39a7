"""What one may ask about webhooks, of the command line and of /admin alike."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from gateway.api_keys import without_keys
from gateway.events.bodies import sample
from gateway.money.text import iso, iso_or_none
from gateway.money.usage_reports import parse_usage_query
from gateway.policy.model import Policy
from gateway.policy.sections.webhooks import SECRET_PREFIX
from gateway.storage.outbox import Delivery, EndpointState, Outbox
from gateway.types import ApiError, Principal

_OPERATOR = Principal(key_id="operator", user="operator", role="admin")
_MOST_DELIVERIES = 100
_SECRET_BYTES = 32


def new_secret() -> str:
    """A secret for an endpoint, as both ends have it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


async def listed(outbox: Outbox, policy: Policy) -> list[dict[str, Any]]:
    """Each endpoint of the policy, and how it stands; neither its URL nor its secret, which may
    give away who may do what there. Raises StorageUnavailable."""
    states = {state.name: state for state in await outbox.states()}
    return [
        {
            "webhook": name,
            "events": list(endpoint.events),
            "batch": endpoint.batch,
            **_standing(states.get(name)),
        }
        for name, endpoint in policy.webhooks.endpoints.items()
    ]


def _standing(state: EndpointState | None) -> dict[str, Any]:
    return {
        "waiting": state.waiting if state else 0,
        "oldest_s": round(state.oldest_s, 3) if state else 0.0,
        "failing_s": round(state.failing_s, 3) if state and state.failing_s is not None else None,
        "disabled_at": iso_or_none(state.disabled_at if state else None, "seconds"),
    }


async def attempts_of(outbox: Outbox, policy: Policy, name: str) -> list[dict[str, Any]]:
    """The last hundred attempts, newest first. Raises ApiError 404 and StorageUnavailable."""
    _check_known(policy, name)
    return [attempt_shown(one) for one in await outbox.deliveries(name, _MOST_DELIVERIES)]


def attempt_shown(delivery: Delivery) -> dict[str, Any]:
    """One attempt, as whoever asks is told it."""
    return {
        "id": delivery.id,
        "type": delivery.topic,
        "attempt": delivery.attempt,
        "at": iso(delivery.at, "milliseconds"),
        "seconds": round(delivery.took_s, 3),
        "status": delivery.status or None,
        "error": delivery.error or None,
    }


async def send_test(outbox: Outbox, policy: Policy, name: str, now_at: float) -> dict[str, Any]:
    """Puts a test message before the endpoint. Raises ApiError 404 and StorageUnavailable."""
    _check_known(policy, name)
    id = f"test_{secrets.token_hex(8)}"
    await outbox.put([sample(name, id, now_at)])
    return {"webhook": name, "id": id}


async def send_again(
    outbox: Outbox, policy: Policy, name: str, asked: Any, now_at: float
) -> dict[str, Any]:
    """``asked``: {"id"} of a message, or {"from", "to"}: the usage of a time, as ``/usage`` takes
    it. Raises ApiError 400 and 404, and StorageUnavailable."""
    _check_known(policy, name)
    if not isinstance(asked, dict) or not asked or not asked.keys() <= {"id", "from", "to"}:
        raise _unfit("Say the `id` of a message, or `from` and `to` of a time.", None)
    if "id" in asked:
        return await _message_again(outbox, name, asked)
    times = {key: str(value) for key, value in asked.items()}
    query = parse_usage_query(times, _OPERATOR, now_at=now_at)
    if query.since is None:
        raise _unfit("`from` says when the time begins.", "from")
    until = query.until if query.until is not None else now_at
    noted = await outbox.usage_again(name, query.since, until)
    return {"webhook": name, "rows": noted}


async def _message_again(outbox: Outbox, name: str, asked: dict[str, Any]) -> dict[str, Any]:
    id = asked["id"]
    if len(asked) > 1 or not isinstance(id, str):
        raise _unfit("`id` is a text, and stands alone.", "id")
    if not await outbox.redeliver(name, id):
        raise ApiError(
            404,
            "message_not_found",
            f"No message {without_keys(id)!r} is kept for {name}. Usage that was taken is not "
            "kept: ask for it by `from` and `to`.",
            param="id",
        )
    return {"webhook": name, "id": id}


async def enable_again(outbox: Outbox, policy: Policy, name: str) -> dict[str, Any]:
    """All that waits is sent at once, and what happened while it was disabled is told. Raises
    ApiError 404 and StorageUnavailable."""
    _check_known(policy, name)
    return {"webhook": name, "enabled": await outbox.enable(name)}


def _check_known(policy: Policy, name: str) -> None:
    if name not in policy.webhooks.endpoints:
        raise ApiError(
            404,
            "webhook_not_found",
            f"The policy has no webhook {without_keys(name)!r}. It has "
            f"{', '.join(policy.webhooks.endpoints) or 'none'}.",
            param="webhook",
        )


def _unfit(message: str, param: str | None) -> ApiError:
    return ApiError(400, "invalid_field", message, param=param)
