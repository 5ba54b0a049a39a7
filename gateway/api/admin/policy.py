"""/admin/policy: the policy in force, those that were, and another one."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from gateway.api.requests.bodies import parse_json
from gateway.api.requests.request import Scope
from gateway.money.text import iso
from gateway.policies.changes import By, unknown
from gateway.policies.differences import differences
from gateway.policies.told import Page, change_as_json
from gateway.policy.model import Policy
from gateway.policy.syntax.problems import PolicyError
from gateway.policy.warnings.every import warnings_of
from gateway.service import Gateway
from gateway.types import ApiError


async def show(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """With what the last SIGHUP read of the files that the policy names, and why the policy's
    own were refused, where they were."""
    refused = gateway.refused
    return 200, {
        **_summary(gateway.active.policy),
        "files": gateway.files,
        "last_refused": refused
        and {"at": iso(refused.at, "milliseconds"), "problems": refused.problems},
    }


async def validate(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Reads a policy without applying it. Raises ApiError 400 with every problem found."""
    policy = await read(gateway, body)
    before = gateway.active.policy
    diff = await asyncio.to_thread(differences, before, policy)
    return 200, {
        "valid": True,
        **_summary(policy),
        "in_force": before.version,
        "diff": diff,
    }


async def apply(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """In force in every gateway that shares the ledger and whose files say the same, until
    those say something else. Raises ApiError 409 where another than the ``expected`` one is in
    force."""
    before = gateway.active.policy
    policy = await read(gateway, body)
    change = await gateway.policies.apply(policy, by(scope), _expected(scope))
    diff = await asyncio.to_thread(differences, before, policy)
    told = {"applied": True, **_summary(policy), "change": change_as_json(change), "diff": diff}
    return 200, told


async def roll_back(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Returns to the version that the body names, or to the policy before this one. Raises
    ApiError 404 for a version that never was in force, 409 when there is none before."""
    before = gateway.active.policy
    version = _version(body)
    change = await gateway.policies.roll_back(version, by(scope), _expected(scope))
    after = gateway.active.policy
    diff = await asyncio.to_thread(differences, before, after)
    told = {"applied": True, **_summary(after), "change": change_as_json(change), "diff": diff}
    return 200, told


async def history(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """What came into force, newest first, a page at a time. Raises ApiError 400."""
    page = Page(asked(scope, "limit", "after"))
    found = await gateway.policies.store.changes(page.before, page.most + 1)
    return 200, page.as_json(found, gateway.active.policy.version)


async def earlier(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """The text of a policy that is or was in force. Raises ApiError 404."""
    version = scope["path_params"]["version"]
    document = await gateway.policies.store.document(version)
    if document is None:
        raise unknown(version)
    in_force = version == gateway.active.policy.version
    return 200, {"policy": version, "in_force": in_force, "yaml": document}


async def read(gateway: Gateway, body: bytes) -> Policy:
    """Of a request's body. Raises ApiError 400 with every problem found."""
    try:
        return await asyncio.to_thread(gateway.policies.read, body.decode())
    except UnicodeDecodeError:
        raise ApiError(400, "invalid_policy", "The policy is not UTF-8 text.") from None
    except PolicyError as error:
        raise ApiError(400, "invalid_policy", str(error)) from None


def _summary(policy: Policy) -> dict[str, Any]:
    today = datetime.datetime.now(datetime.UTC).date()
    return {
        "policy": policy.version,
        "models": list(policy.models),
        "backends": list(policy.backends),
        "routes": [route.name for route in policy.routes],
        "warnings": [str(problem) for problem in warnings_of(policy, today=today)],
    }


def by(scope: Scope) -> By:
    """Who asks, as the audit log has it."""
    act = scope["act"]
    return By(act.actor, act.address)


def asked(scope: Scope, *allowed: str) -> Mapping[str, str]:
    """What the query says. Raises ApiError 400 for what is not ``allowed``."""
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    for name in query:
        if name not in allowed:
            text = f"{name!r} is no parameter here; allowed: {', '.join(allowed)}"
            raise ApiError(400, "invalid_parameter", text, param=name)
    return query


def _expected(scope: Scope) -> str:
    """The version that the change is to follow; empty: whichever is in force."""
    return asked(scope, "expected").get("expected", "")


def _version(body: bytes) -> str:
    """Of ``{"version": ...}``; empty for an empty body. Raises ApiError 400."""
    if not body.strip():
        return ""
    asked = parse_json(body)
    version = asked.get("version") if isinstance(asked, dict) else None
    if not isinstance(version, str) or not version or len(asked) > 1:
        text = 'Expected nothing, or {"version": "..."} with one of GET /admin/policy/history.'
        raise ApiError(400, "invalid_request", text, param="version")
    return version
