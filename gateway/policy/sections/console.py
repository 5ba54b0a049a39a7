"""The section ``server.console``: who else may sign in to the pages for browsers."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from adapters.settings import HttpUrl, SecretStr, SettingError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_protected(url: str) -> bool:
    """Whether what is sent there crosses no network in the clear: by https, or on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


class OidcClaim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those whose claim has the value, alone or in a list."""

    claim: str
    """Such as groups."""
    value: str
    """Such as gpu-admins."""


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sign-in by an OpenID provider, by the authorization code flow with PKCE."""

    issuer: HttpUrl
    """Its address, as its tokens have it in iss; its .well-known/openid-configuration lies below
    it. https, or this machine's own loopback."""
    client_id: str
    """Of this gateway at the provider."""
    client_secret: SecretStr | None = None
    """Left out: a public client."""
    url: HttpUrl
    """Where browsers reach this gateway, such as https://gpus.example.com; the provider is to know
    its /dashboard/sign-in/oidc/back as the address that it may lead back to. https, or this
    machine's own loopback."""
    user: str = "email"
    """The claim that names the user, as keys name it. An email counts only where the provider has
    verified it."""
    admin: OidcClaim | None = None
    """Left out: nobody is an admin by this way."""
    only: OidcClaim | None = None
    """Who may come in at all; left out: everybody whom the provider lets in."""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    """What is asked of the provider."""
    name: str = "single sign-on"
    """What the button says after "Sign in with"."""

    def __post_init__(self) -> None:
        for key, url in (("issuer", self.issuer), ("url", self.url)):
            if not is_protected(url):
                words = (
                    f"{url} would carry sign-ins over the network in the clear; use https, or http "
                    "on localhost, 127.0.0.1 or [::1]"
                )
                raise SettingError((key,), words)


class ConsoleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``server.console``."""

    oidc: OidcSettings | None = None
    """An OpenID provider beside the keys; left out: keys alone."""
