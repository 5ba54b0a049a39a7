"""Presigned URLs of S3-compatible object stores, by Signature Version 4. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from adapters.settings import Secret

_ALGORITHM = "AWS4-HMAC-SHA256"
LONGEST_S = 7 * 24 * 3600
"""The longest that such a URL may be good for, in seconds."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A key of an object store, and the region that its signatures are for."""

    key_id: Secret
    secret: Secret
    region: str = "us-east-1"


def presigned(
    method: str, endpoint: str, path: str, credentials: Credentials, *, at: float, seconds: int
) -> str:
    """A URL by which anybody may do ``method`` on one object, for ``seconds`` from ``at`` on.

    ``endpoint`` is scheme and host, ``path`` the bucket and the object's key, not quoted, ``at``
    seconds since 1970-01-01 UTC.
    """
    now = datetime.fromtimestamp(at, UTC)
    stamp, scope = now.strftime("%Y%m%dT%H%M%SZ"), _scope(now, credentials.region)
    query = _query(
        {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{credentials.key_id.reveal()}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        }
    )
    target, host = quote(path, safe="/~"), endpoint.partition("://")[2]
    request = f"{method}\n{target}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashed}"
    signature = _hmac(_signing_key(credentials.secret, scope), text).hex()
    return f"{endpoint}{target}?{query}&X-Amz-Signature={signature}"


def _scope(now: datetime, region: str) -> str:
    return f"{now:%Y%m%d}/{region}/s3/aws4_request"


def _query(values: dict[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(values.items()))


def _signing_key(secret: Secret, scope: str) -> bytes:
    key = b"AWS4" + secret.reveal().encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
