"""What the bearer of a token is told, who may be anybody: of its key's budgets nothing."""

from __future__ import annotations

from typing import Any

from gateway.key_requests import permitted_json, state_of
from gateway.money.text import iso, iso_or_none
from gateway.storage.base import LimitStatus
from gateway.storage.key_records import KeyRecord
from gateway.tokens.asking import cap_of
from gateway.types import NANO, ApiError, Principal

_LIMITS = frozenset(
    (
        *("budget_exhausted", "rate_limit_exceeded"),
        *("token_limit_exceeded", "concurrency_limit_exceeded"),
    )
)
_FIGURES = frozenset(("x-spillgate-left", "ratelimit", "ratelimit-policy"))
_OWN = "This token "
"""How the refusal of a token's own limit begins."""


def for_caller(error: ApiError, caller: Principal) -> ApiError:
    """The same error; to who has a token, without figures of limits that are not the token's own.
    Everything that tells an error asks for it."""
    if caller.token is None or error.code not in _LIMITS or error.message.startswith(_OWN):
        return error
    headers = {name: text for name, text in error.headers.items() if name.lower() not in _FIGURES}
    message = (
        "The key behind this token has no room for the call at the moment. "
        "Whoever gave you the token knows more."
    )
    return ApiError(
        error.status, error.code, message, type=error.type, param=error.param, headers=headers
    )


def token_json(record: KeyRecord, now_at: float, left: LimitStatus | None = None) -> dict[str, Any]:
    """A token as its key may see it: never the token. ``left`` of its cap, where that is known."""
    principal = record.principal
    token = principal.token
    assert token is not None
    bound = permitted_json(principal.permitted)
    return {
        "id": token.id,
        "key": principal.key_id,
        "user": principal.user,
        "models": bound["models"],
        "paths": bound["paths"],
        "origins": list(token.origins) or None,
        "spend_usd": cap_of(token.limits),
        "left_usd": None if left is None else left.likely / NANO,
        "hint": record.hint,
        "state": state_of(record, now_at),
        "created_at": iso(record.created_at, "seconds"),
        "expires_at": iso_or_none(record.expires_at, "seconds"),
        "revoked_at": iso_or_none(record.revoked_at, "seconds"),
    }
