"""Sign-in by an OpenID provider: the way there, and back. Authorization code flow with PKCE
(RFC 7636), state and nonce; what belongs to one sign-in lies in a cookie of the browser alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
from urllib.parse import urlencode, urlsplit

import msgspec

from gateway.clock import Clock
from gateway.console.sign_in.cookies import PREFIX
from gateway.console.sign_in.oidc_provider import OidcProvider, ProviderFault
from gateway.console.sign_in.oidc_tokens import (
    TokenRefused,
    UnknownSigner,
    claims_of,
    principal_of,
)
from gateway.policy.sections.console import OidcSettings
from gateway.types import ApiError, Principal

log = logging.getLogger("spillgate")

_COOKIE = "spillgate_oidc"
WAY = f"{PREFIX}/sign-in/oidc"
BACK = f"{WAY}/back"
_LASTS_S = 600


class UnderWay(msgspec.Struct, frozen=True):
    """One sign-in between the way there and the way back."""

    state: str
    nonce: str
    verifier: str
    next: str = ""


class OidcSignIn:
    """Of one provider. ``cookie`` is the name of what a browser brings back."""

    cookie = _COOKIE

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._provider = OidcProvider(settings, clock)
        self._back = settings.url.rstrip("/") + BACK
        self.is_secure = urlsplit(self._back).scheme == "https"

    async def begin(self, next: str) -> tuple[str, bytes]:
        """Where the browser goes, and the cookie that it brings back. Raises ApiError 502."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        under_way = UnderWay(state, nonce, verifier, next)
        digest = hashlib.sha256(under_way.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._back,
            "scope": " ".join(self._settings.scopes),
            "state": under_way.state,
            "nonce": under_way.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        try:
            place = await self._provider.authorization_endpoint()
        except ProviderFault as fault:
            raise self._unreachable(fault) from None
        there = f"{place}{'&' if '?' in place else '?'}{urlencode(asked)}"
        kept = base64.urlsafe_b64encode(msgspec.json.encode(under_way)).decode()
        return there, self._cookie(kept, _LASTS_S)

    async def end(self, params: dict[str, str], cookie: str) -> tuple[Principal, str]:
        """Who has come back, and the page that he wanted. Raises ApiError 400 where that is no way
        back of this browser, 403 for a token that is not believed, 502 where the provider fails."""
        under_way = _read(cookie)
        if under_way is None or not _same(params.get("state", ""), under_way.state):
            words = "This sign-in was not begun here, or too long ago. Sign in once more."
            raise ApiError(400, "invalid_parameter", words, param="state")
        if "error" in params:
            why = params.get("error_description") or params["error"]
            words = f"The provider let nobody in: {why[:200]}"
            raise ApiError(403, "forbidden", words, type="permission_error")
        try:
            return await self._who(params.get("code", ""), under_way), under_way.next
        except ProviderFault as fault:
            raise self._unreachable(fault) from None
        except TokenRefused as refused:
            log.warning("sign-in by %s is refused: %s", self._settings.issuer, refused)
            words = f"The provider's token is not believed. {refused}."
            raise ApiError(403, "forbidden", words, type="permission_error") from None

    async def _who(self, code: str, under_way: UnderWay) -> Principal:
        token = await self._provider.token_for(code, under_way.verifier, self._back)
        told, now_at = under_way.nonce, self._clock.time()
        try:
            keys = await self._provider.keys()
            claims = claims_of(token, keys, self._settings, nonce=told, now_at=now_at)
        except UnknownSigner:
            keys = await self._provider.keys(anew=True)
            claims = claims_of(token, keys, self._settings, nonce=told, now_at=now_at)
        return principal_of(claims, self._settings)

    def forgotten(self) -> bytes:
        """The cookie in the place of the one that has served."""
        return self._cookie("", 0)

    def _cookie(self, value: str, lasts_s: int) -> bytes:
        text = f"{_COOKIE}={value}; Path={WAY}; Max-Age={lasts_s}; HttpOnly; SameSite=Lax"
        return (text + ("; Secure" if self.is_secure else "")).encode()

    def _unreachable(self, fault: ProviderFault) -> ApiError:
        log.warning("sign-in by %s: %s", self._settings.issuer, fault)
        words = (
            f"The provider {self._settings.issuer} cannot be asked: {fault}. Sign in with a key."
        )
        return ApiError(502, "backend_unreachable", words, type="server_error")


def _read(cookie: str) -> UnderWay | None:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cookie.encode()), type=UnderWay)
    except (ValueError, msgspec.DecodeError):
        return None


def _same(one: str, other: str) -> bool:
    return bool(other) and hmac.compare_digest(one.encode(errors="replace"), other.encode())
