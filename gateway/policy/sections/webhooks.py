"""The sections ``webhooks`` and ``alerts``: who is told of what, and when."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec

from adapters.settings import (
    PositiveDuration,
    Scalar,
    Secret,
    SecretStr,
    SettingError,
    check_webhook,
)
from gateway.types import JOB_RECEIVERS

Topic = Literal["usage", "budget", "keys"]
ScopeKind = Literal["key", "user", "plan", "tag", "model", "backend", "warm-pool", "gateway"]
Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]

SECRET_PREFIX = "whsec_"  # noqa: S105 - what such a secret begins with
LEAST_SECRET = 24
"""Bytes of a secret, and the most: Standard Webhooks, "Signature scheme"."""
MOST_SECRET = 64
DEFAULT_BATCH = 100


def parse_webhook_url(value: Any) -> str:
    """'https://billing.example.com/hooks?team=a' -> the same. Raises ValueError, which repeats none
    of it: it may hold what nobody else should know."""
    text = str(value)
    try:
        check_webhook(text)
    except SettingError as error:
        raise ValueError(str(error)) from None
    if urlsplit(text).username is not None or "#" in text or not text.isascii():
        raise ValueError("it may hold only scheme, host, port, path and query")
    return text


WebhookUrl = Annotated[
    str,
    Scalar(
        parse=parse_webhook_url,
        expects="a URL such as https://billing.example.com/hooks",
        pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+([/?][^\s#]*)?$",
    ),
]


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who is told by POST, in the format of Standard Webhooks."""

    url: WebhookUrl
    """Where each message is sent; a redirect is not followed."""
    secret: SecretStr
    """whsec_ and the base64 of 24 to 64 bytes, with which messages are signed;
    `spillgate webhooks secret` makes one."""
    previous_secret: SecretStr | None = None
    """While a secret is exchanged: messages are signed with this one too."""
    events: Annotated[tuple[Topic, ...], msgspec.Meta(min_length=1)]
    """usage: each row of the ledger, once it is settled; budget: limits that were reached; keys:
    those that end soon."""
    batch: Annotated[int, msgspec.Meta(ge=1, le=500)] = DEFAULT_BATCH
    """Rows of usage that one message tells of, at most; 1: each is told by itself."""
    ca_file: str | None = None
    """PEM file of the authority that signed the receiver's certificate; left out: the system's."""


class JobWebhooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How callers are told of the ends of their jobs, each at the URL that it gave."""

    secret: SecretStr
    """whsec_ and the base64 of 24 to 64 bytes, with which these messages are signed."""
    previous_secret: SecretStr | None = None
    """While a secret is exchanged: messages are signed with this one too."""
    ca_file: str | None = None
    """PEM file of the authority that signed the receivers' certificates; left out: the system's."""

    def endpoint(self) -> WebhookEndpoint:
        """As one receiver, whose URL each message brings itself."""
        return WebhookEndpoint(
            url="",
            secret=self.secret,
            previous_secret=self.previous_secret,
            events=(),
            ca_file=self.ca_file,
        )


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``webhooks``."""

    endpoints: dict[str, WebhookEndpoint] = {}
    """Name -> who is told of what."""
    jobs: JobWebhooks | None = None
    """How the ends of jobs are told; left out: a job that gives a webhook is refused."""
    allow_private: bool = False
    """Whether a receiver may stand in a private network, or on this machine."""
    timeout: PositiveDuration = 15.0
    """The longest that one attempt may take, from the name's resolution to the answer's end."""
    disable_after: PositiveDuration = 3 * 86_400.0
    """An endpoint that has taken nothing for so long is asked no more, until it is enabled."""
    keep: PositiveDuration = 7 * 86_400.0
    """How long a message waits at the most, and stays, to be sent again on request."""

    def receiver(self, name: str) -> WebhookEndpoint | None:
        """Whoever has this name in the outbox; None where that is nobody any more."""
        if name.startswith(JOB_RECEIVERS) and self.jobs is not None:
            return self.jobs.endpoint()
        return self.endpoints.get(name)


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``alerts``: of which limits of money and device time it is told."""

    at: tuple[Percent, ...] = (50, 80, 100)
    """Percent of a limit; each is told once in a window. Empty: only what was refused."""
    of: tuple[ScopeKind, ...] = get_args(ScopeKind)
    """Whose limits."""


def secret_bytes(secret: Secret) -> bytes:
    """What a message is signed with. Raises ValueError, which repeats none of it."""
    text = secret.reveal()
    if not text.startswith(SECRET_PREFIX):
        raise ValueError(f"begins with {SECRET_PREFIX}; `spillgate webhooks secret` makes one")
    try:
        return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(
            f"is {SECRET_PREFIX} and base64; `spillgate webhooks secret` makes one"
        ) from None


def unfit_secrets(settings: WebhookSettings) -> Iterator[tuple[str, str]]:
    """(key path, message) of each secret that signs nothing."""
    for path, secret in _secrets(settings):
        try:
            if not secret_bytes(secret):
                yield path, "is empty behind whsec_"
        except ValueError as error:
            yield path, str(error)


def doubtful(settings: WebhookSettings, alerts: AlertSettings) -> Iterator[tuple[str, str]]:
    """(key path, message) of what is allowed, and hardly meant."""
    for name, endpoint in settings.endpoints.items():
        path, parts = f"webhooks.endpoints.{name}", urlsplit(endpoint.url)
        if parts.scheme.lower() != "https":
            yield f"{path}.url", "http: whoever is on the way reads it, and may keep it from you"
        if not settings.allow_private and is_private(parts.hostname or ""):
            yield (
                f"{path}.url",
                "never reached: it lies in a private network, and webhooks.allow_private is false",
            )
        if endpoint.batch != DEFAULT_BATCH and "usage" not in endpoint.events:
            yield f"{path}.batch", "without effect: it takes no usage"
    for path, secret in _secrets(settings):
        yield from _doubtful_length(path, secret)
    if settings.disable_after > settings.keep:
        yield (
            "webhooks.disable_after",
            "is longer than webhooks.keep: messages are dropped before their endpoint is disabled",
        )
    if len(set(alerts.at)) < len(alerts.at):
        yield "alerts.at", "names a share twice"


def _secrets(settings: WebhookSettings) -> Iterator[tuple[str, Secret]]:
    for name, endpoint in settings.endpoints.items():
        yield f"webhooks.endpoints.{name}.secret", endpoint.secret
        if endpoint.previous_secret is not None:
            yield f"webhooks.endpoints.{name}.previous_secret", endpoint.previous_secret
    if settings.jobs is not None:
        yield "webhooks.jobs.secret", settings.jobs.secret
        if settings.jobs.previous_secret is not None:
            yield "webhooks.jobs.previous_secret", settings.jobs.previous_secret


def _doubtful_length(path: str, secret: Secret) -> Iterator[tuple[str, str]]:
    try:
        size = len(secret_bytes(secret))
    except ValueError:
        return
    if size < LEAST_SECRET:
        yield path, f"is {size} bytes: whoever has a message may guess it; {LEAST_SECRET} will do"
    elif size > MOST_SECRET:
        yield path, f"is {size} bytes: some receivers take {MOST_SECRET} at most"


def is_private(host: str) -> bool:
    """By the name alone; what a name leads to is looked at when it is dialled."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
