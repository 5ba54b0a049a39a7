"""What a request that shows a client token may do, beside what binds it as it binds a key."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.storage.key_store import KeyStore
from gateway.types import ApiError, ClientToken

_KEPT = (b"idempotency-key", b"prefer", b"last-event-id")
"""They make jobs, or streams that are kept by name; others with a token of the key would find
these."""


def check_token(token: ClientToken, keys: KeyStore, headers: Mapping[bytes, bytes]) -> None:
    """Raises ApiError 401 where the key with which it was made works no longer, 403 for a page of
    another origin and for what a token may not ask for."""
    if keys.of_digest(bytes.fromhex(token.key_digest)) is None:
        raise ApiError(
            401,
            "invalid_api_key",
            "The key that made this token was revoked, rotated or has expired, and its tokens with "
            "it. POST /v1/tokens with another key makes another one.",
            type="authentication_error",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if token.origins and headers.get(b"origin", b"").decode("latin-1") not in token.origins:
        raise _refused("This token is for pages of other origins.", "Origin")
    for name in _KEPT:
        if name in headers:
            told = name.decode().title()
            raise _refused(f"A token makes no jobs and keeps no streams: leave {told} out.", told)


def _refused(message: str, param: str) -> ApiError:
    return ApiError(403, "key_not_permitted", message, type="permission_error", param=param)
