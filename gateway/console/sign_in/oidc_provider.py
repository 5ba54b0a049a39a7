"""An OpenID provider as it describes itself, its keys, and the exchange of a code for a token."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from gateway.clock import Clock
from gateway.policy.sections.console import OidcSettings, is_protected

_TIMEOUT_S = 10.0
_MOST_BYTES = 1_000_000
_KEPT_S = 3_600.0
_AGAIN_S = 10.0
"""For so long an unknown key is not looked for anew: whoever forges tokens asks nobody for us."""


class ProviderFault(Exception):
    """The provider cannot be asked, or answers otherwise than it should. In words for people."""


class OidcProvider:
    """Of one issuer. What it says of itself is asked for when it is needed, and again each hour."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._described: dict[str, Any] = {}
        self._described_at = float("-inf")
        self._keys: KeySet | None = None
        self._keys_at = float("-inf")

    async def authorization_endpoint(self) -> str:
        """Where a browser is sent. Raises ProviderFault."""
        return await self._endpoint("authorization_endpoint")

    async def keys(self, *, anew: bool = False) -> KeySet:
        """Those that sign its tokens; ``anew``: one of them is not known yet. Raises
        ProviderFault."""
        age_s = self._clock.monotonic() - self._keys_at
        if self._keys is None or age_s > (_AGAIN_S if anew else _KEPT_S):
            told = await _json("GET", await self._endpoint("jwks_uri"))
            self._keys = KeySet([*_readable(told)])
            self._keys_at = self._clock.monotonic()
        return self._keys

    async def token_for(self, code: str, verifier: str, back: str) -> str:
        """The ID token that a code stands for. Raises ProviderFault."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back,
                "code_verifier": verifier}  # fmt: skip
        settings, auth = self._settings, None
        if settings.client_secret is not None:
            # RFC 6749, 2.3.1: both are encoded as in a form before they are put together.
            pair = (settings.client_id, settings.client_secret.reveal())
            auth = httpx.BasicAuth(*(quote(one, safe="") for one in pair))
        else:
            form["client_id"] = settings.client_id
        told = await _json("POST", await self._endpoint("token_endpoint"), data=form, auth=auth)
        token = told.get("id_token")
        if not isinstance(token, str):
            raise ProviderFault("it gave no id_token; is the scope openid among its scopes?")
        return token

    async def _endpoint(self, name: str) -> str:
        if self._clock.monotonic() - self._described_at > _KEPT_S:
            issuer = self._settings.issuer
            place = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
            told = await _json("GET", place)
            if told.get("issuer") != issuer:
                raise ProviderFault(f"{place} is of the issuer {told.get('issuer')!r}")
            self._described, self._described_at = told, self._clock.monotonic()
        found = self._described.get(name)
        if not isinstance(found, str):
            raise ProviderFault(f"it describes no {name}")
        check_protected(found)
        return found


def _readable(told: dict[str, Any]) -> Iterator[Key]:
    """Those for signatures, of kinds that are known: a provider may have others too."""
    listed = told.get("keys")
    for one in listed if isinstance(listed, list) else ():
        with contextlib.suppress(JoseError, ValueError, KeyError, TypeError, AttributeError):
            if one.get("use", "sig") == "sig":
                yield JWKRegistry.import_key(one)


def check_protected(address: str) -> None:
    """Raises ProviderFault for one to which a secret would go in the clear."""
    if not is_protected(address):
        raise ProviderFault(f"{address} is not https")


async def _json(method: str, address: str, **more: Any) -> dict[str, Any]:
    check_protected(address)
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client:
            answer = await client.request(method, address, **more)
            told = answer.json() if len(answer.content) <= _MOST_BYTES else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ProviderFault(f"{_place(address)}: {error or type(error).__name__}") from None
    if not isinstance(told, dict):
        raise ProviderFault(f"{_place(address)}: HTTP {answer.status_code}, and no JSON object")
    if answer.status_code != 200:
        why = told.get("error_description") or told.get("error") or "no reason"
        raise ProviderFault(f"{_place(address)}: HTTP {answer.status_code}: {str(why)[:200]}")
    return told


def _place(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
