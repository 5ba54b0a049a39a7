"""What a provider's ID token says of a person, once it is certain that it says it: to us, of this
sign-in, and now. OpenID Connect Core 1.0, 3.1.3.7."""

from __future__ import annotations

from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.api_keys import without_keys
from gateway.console.sign_in.sessions import OIDC
from gateway.key_requests import may_be_user
from gateway.policy.sections.console import OidcClaim, OidcSettings
from gateway.types import Principal

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures of a key that the provider alone has: none, and no secret that we have too."""
_LEEWAY_S = 60
_LONGEST_SUBJECT = 128


class TokenRefused(Exception):
    """Why a token is not believed, in words for whoever signs in."""


class UnknownSigner(TokenRefused):
    """No key that is known has signed it: perhaps one that is new."""


def claims_of(
    token: str, keys: KeySet, settings: OidcSettings, *, nonce: str, now_at: float
) -> dict[str, Any]:
    """What it says. Raises TokenRefused."""
    try:
        claims: dict[str, Any] = jwt.decode(token, keys, algorithms=_ALGORITHMS).claims
    except (JoseError, ValueError, KeyError, TypeError) as error:
        words = f"Its signature is not by a key of {settings.issuer}: {_short(error)}"
        raise UnknownSigner(words) from None
    _check(claims, settings, nonce, now_at)
    return claims


def _check(claims: dict[str, Any], settings: OidcSettings, nonce: str, now_at: float) -> None:
    if claims.get("iss") != settings.issuer:
        raise TokenRefused(f"It is of another issuer than {settings.issuer}")
    if settings.client_id not in _each(claims.get("aud")):
        raise TokenRefused("It is for another client (aud)")
    if len(_each(claims.get("aud"))) > 1 and claims.get("azp") != settings.client_id:
        raise TokenRefused("It is for several clients, and was given to another (azp)")
    if claims.get("nonce") != nonce:
        raise TokenRefused("It is of another sign-in (nonce)")
    expires_at, began_at = _instant(claims, "exp"), _instant(claims, "iat")
    if now_at > expires_at + _LEEWAY_S:
        raise TokenRefused("It has expired; is this machine's clock right?")
    begins_at = _instant(claims, "nbf") if "nbf" in claims else began_at
    if max(begins_at, began_at) > now_at + _LEEWAY_S:
        raise TokenRefused("It holds only later; is this machine's clock right?")


def principal_of(claims: dict[str, Any], settings: OidcSettings) -> Principal:
    """Who it is here. Raises TokenRefused for whoever may not come in, or is not named."""
    if settings.only is not None and not _has(claims, settings.only):
        raise TokenRefused(f"{settings.only.claim} has no {settings.only.value}: ask for it")
    user, subject = claims.get(settings.user), claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise TokenRefused("It names nobody (sub)")
    if not isinstance(user, str) or not user.strip():
        raise TokenRefused(f"It has no claim {settings.user}, which is to name the user")
    if settings.user == "email" and claims.get("email_verified") is not True:
        raise TokenRefused("Its email is not verified by the provider (email_verified)")
    if not may_be_user(user):
        raise TokenRefused(f"Its {settings.user} is no name that a user can have here")
    is_admin = settings.admin is not None and _has(claims, settings.admin)
    return Principal(
        key_id=f"{OIDC}{without_keys(subject)[:_LONGEST_SUBJECT]}",
        user=user,
        role="admin" if is_admin else "user",
    )


def _has(claims: dict[str, Any], wanted: OidcClaim) -> bool:
    if wanted.claim == "email" and claims.get("email_verified") is not True:
        return False
    return wanted.value in _each(claims.get(wanted.claim))


def _each(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [] if value is None else [value]


def _instant(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(f"It does not say when it holds ({name})")
    return value


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
