"""Buckets of S3-compatible object stores, as URLs name them. Pure."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from adapters.buckets.sigv4 import Credentials, presigned
from adapters.settings import Secret

_FORM = "s3://BUCKET/PREFIX?endpoint=https://HOST"


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Where objects are put: ``s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION``."""

    endpoint: str
    bucket: str
    prefix: str
    region: str

    @classmethod
    def from_url(cls, url: str, *, where: str = "payloads") -> Bucket:
        """``where`` is the setting that says so. Raises ValueError saying what is wrong."""
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if parts.scheme != "s3" or not parts.netloc:
            raise ValueError(f"{where} is written {_FORM}")
        if unknown := sorted(set(options) - {"endpoint", "region"}):
            raise ValueError(f"{where} has no option {unknown[0]}; endpoint and region are")
        endpoint = urlsplit(options.get("endpoint", ""))
        if endpoint.scheme not in ("http", "https") or not endpoint.hostname:
            raise ValueError(f"{where} needs an endpoint: http(s)://HOST, without a path")
        if endpoint.path.strip("/") or endpoint.query or endpoint.fragment:
            raise ValueError(f"{where} needs an endpoint: http(s)://HOST, without a path")
        prefix = parts.path.strip("/")
        return cls(
            endpoint=f"{endpoint.scheme}://{endpoint.netloc}",
            bucket=parts.netloc,
            prefix=f"{prefix}/" if prefix else "",
            region=options.get("region", "us-east-1"),
        )

    def presigned(
        self, method: str, name: str, credentials: Credentials, *, at: float, seconds: int
    ) -> str:
        """A URL by which anybody may do ``method`` on the object of that name, for ``seconds`` from
        ``at`` (since 1970-01-01 UTC) on."""
        path = f"/{self.bucket}/{self.prefix}{name}"
        return presigned(method, self.endpoint, path, credentials, at=at, seconds=seconds)


class KeyedBucket(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket, and the key that opens it, which shows in no repr."""

    place: Bucket
    credentials: Credentials

    @classmethod
    def from_url(cls, url: str, *, where: str) -> KeyedBucket:
        """``s3://KEY_ID:SECRET@BUCKET/PREFIX?endpoint=...``. Raises ValueError, which repeats
        nothing of the URL."""
        scheme, _, rest = url.partition("://")
        entry, separator, bucket = rest.partition("@")
        key_id, _, secret = entry.partition(":")
        if scheme != "s3" or not separator or not key_id or not secret:
            raise ValueError(f"{where} is written s3://KEY_ID:${{SECRET}}@{_FORM[5:]}")
        place = Bucket.from_url(f"s3://{bucket}", where=where)
        keys = Credentials(
            key_id=Secret(unquote(key_id)), secret=Secret(unquote(secret)), region=place.region
        )
        return cls(place=place, credentials=keys)
