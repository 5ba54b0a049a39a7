"""Capacity that is rented by the hour and started and stopped by hooks, as a policy says it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from adapters.settings import (
    Duration,
    Scalar,
    Secret,
    SettingError,
    UnfitSecret,
    check_webhook,
    parse_secret,
)
from gateway.policy.syntax.scalars import BackendName

LONGEST_HOOK_S = 240.0
"""An hour is booked five minutes after its end: by then it is known what a hook has come to."""


def parse_hook(value: Any) -> str:
    """A URL, or a program's absolute path. Raises ValueError, which repeats none of it."""
    text = str(value).strip()
    if not text.startswith("/"):
        try:
            check_webhook(text)
        except SettingError as error:
            why = str(error).rpartition(": ")[2]
            text = f"it is neither a URL nor the absolute path of a program: {why}"
            raise ValueError(text) from None
    if not text.isprintable() or " " in text:
        raise ValueError("it holds a blank or a character that none can print")
    return text


def parse_bearer(value: Any) -> Secret:
    """A secret that a bearer token can be (RFC 6750, 2.1). Raises UnfitSecret."""
    secret = parse_secret(value)
    text = secret.reveal()
    if not (text.isascii() and text.isprintable()):
        raise UnfitSecret("a bearer token holds characters of ASCII alone")
    return secret


Hook = Annotated[
    str,
    Scalar(
        parse=parse_hook,
        expects="an http or https URL, or the absolute path of a program",
        pattern=r"^\s*(https?://|/)[^\s]+\s*$",
    ),
]
BearerToken = Annotated[
    Secret,
    Scalar(
        parse=parse_bearer,
        expects="a secret taken from the environment, such as ${PODS_TOKEN}",
        pattern=r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$",
        secret=True,
    ),
]


class Reserve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Instances that serve one backend, as many as a plan advises."""

    backend: BackendName
    """Which they serve; its price by the hour is that of one instance."""
    plan: BackendName
    """The backend of the warm pool whose plan advises how many there should be. While it says act
    the hooks are called; with observe it is only told what would be done."""
    start: Hook
    """Starts an instance: a URL that is posted to, or a program that is run."""
    stop: Hook
    """Stops it, and may be asked again of one that is stopped."""
    token: BearerToken | None = None
    """Sent to URLs as a bearer token."""
    most: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    """Instances at once."""
    calls_per_instance: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Calls that one runs at once."""
    start_after: Duration = 60.0
    """More must be advised for so long."""
    stop_after: Duration = 600.0
    """Fewer must be advised for so long."""
    stop_ahead: Annotated[Duration, msgspec.Meta(gt=0, le=1800)] = 180.0
    """How long before the end of its rented hour one is stopped."""
    timeout: Annotated[Duration, msgspec.Meta(gt=0, le=LONGEST_HOOK_S)] = 60.0
    """The longest that a hook may take; then nobody knows what it has done."""
