"""Whether a webhook is Replicate's: its signature, as a pure function for whoever receives one.

The scheme is that of Standard Webhooks: HMAC-SHA256 over ``id.timestamp.body`` under the key that
``whsec_`` stands before, in base64; ``webhook-signature`` lists one or several ``v1,<base64>``.

Sources: https://replicate.com/docs/topics/webhooks/verify-webhook, https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from adapters.settings import Secret

TOLERANCE = 300.0
"""Seconds that a webhook's own clock may be off, to either side."""
_PREFIX = "whsec_"


def is_genuine(
    body: bytes,
    headers: Mapping[str, str],
    key: Secret,
    *,
    now: float,
    tolerance: float = TOLERANCE,
) -> bool:
    """Whether ``body``, byte for byte as it came, was signed under ``key`` within ``tolerance``
    seconds of ``now`` (since 1970). Header names are read in any case. Raises ValueError for a
    key that is none.

    A genuine webhook may come twice: ``webhook-id`` tells.
    """
    secret = _key_of(key)
    given = {name.lower(): value for name, value in headers.items()}
    webhook_id, sent = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not webhook_id or not _is_recent(sent, now, tolerance):
        return False
    signed = b"%b.%b.%b" % (webhook_id.encode(), sent.encode(), body)
    expected = hmac.new(secret, signed, hashlib.sha256).digest()
    signatures = _signatures_in(given.get("webhook-signature", ""))
    return any(hmac.compare_digest(one, expected) for one in signatures)


def _key_of(key: Secret) -> bytes:
    try:
        decoded = base64.b64decode(key.reveal().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ValueError("a webhook's key is whsec_ and base64")
    return decoded


def _is_recent(sent: str, now: float, tolerance: float) -> bool:
    return sent.isascii() and sent.isdecimal() and abs(now - int(sent)) <= tolerance


def _signatures_in(value: str) -> list[bytes]:
    """The signatures of version 1; what is no base64 is none."""
    found = []
    for entry in value.split():
        version, _, signature = entry.partition(",")
        if version != "v1":
            continue
        try:
            found.append(base64.b64decode(signature, validate=True))
        except (binascii.Error, ValueError):
            continue
    return found
