"""Payloads that go by URL: what is too large for a platform's request waits in an object store.

Inside a JSON body, a file travels as a ``data:`` URI (RFC 2397). Where a platform takes a URL in
its place, such a file is put into a bucket and a presigned URL stands where it stood. A URL that
the caller gave passes as it is. Objects are named by their content, so the same file is stored
once, and none is ever deleted from here: the bucket's own life-cycle rule does that.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from adapters.base import Clock
from adapters.buckets.sigv4 import Credentials
from adapters.buckets.urls import Bucket
from adapters.errors import BackendError, FailureClass
from adapters.http.api import Api
from adapters.settings import HttpSettings, Secret
from adapters.shapes.json_texts import UNREADABLE

_PUT_WITHIN_S = 300
_SMALLEST_FILE = 1024
"""A shorter ``data:`` URI is no longer than the URL that would stand for it."""


class InlineFile(msgspec.Struct, frozen=True):
    """One file that was found inside a body."""

    name: str
    kind: str
    data: bytes


class Uploads(Api):
    """Puts the files of large bodies into a bucket. ``good_for`` is how long a URL may be used,
    in seconds. Raises BackendError."""

    def __init__(
        self, place: Bucket, key_id: Secret, secret: Secret, clock: Clock, *, good_for: float
    ) -> None:
        settings = HttpSettings(base_url=place.endpoint, max_connections=32)
        super().__init__(place.endpoint, clock, settings)
        self._place = place
        self._good_for = int(good_for)
        self._credentials = Credentials(key_id=key_id, secret=secret, region=place.region)

    async def slim(self, body: bytes, limit: int, deadline: float) -> bytes:
        """A body of at most ``limit`` bytes, its files by URL; one that fits is returned as it is.

        Raises TOO_LARGE where it is larger without its files.
        """
        if len(body) <= limit:
            return body
        # Megabytes of base64 and of hashing would hold up every other call.
        try:
            value, files = await asyncio.to_thread(taken_apart, body)
        except UNREADABLE:
            raise BackendError(
                FailureClass.INVALID, "The input is no JSON that its files can be taken out of."
            ) from None
        urls = {file.name: await self._put(file, deadline) for file in files}
        slim = msgspec.json.encode(_put_together(value, urls))
        if len(slim) > limit:
            raise BackendError(
                FailureClass.TOO_LARGE,
                f"The platform takes at most {limit} bytes of input beside its files, which go by "
                f"URL; this one has {len(slim)}.",
            )
        return slim

    async def _put(self, file: InlineFile, deadline: float) -> str:
        """Its URL. Until every file is there nothing was asked of the platform, so whatever goes
        wrong here but the deadline leaves the call free to go elsewhere."""
        head = self.head("PUT", self._target("PUT", file.name), {"Content-Type": file.kind})
        try:
            response = await self.client.request(head, file.data, deadline=deadline)
        except BackendError as error:
            if error.failure is FailureClass.TIMEOUT:
                raise
            raise _not_stored(FailureClass.UNREACHABLE, error.message) from None
        if response.status not in (200, 201, 204):
            refused = response.status in (401, 403)
            kind = FailureClass.CREDENTIAL if refused else FailureClass.UNREACHABLE
            raise _not_stored(kind, f"it answered with status {response.status}")
        return self._place.endpoint + self._target("GET", file.name)

    def _target(self, method: str, name: str) -> str:
        place, put = self._place, method == "PUT"
        url = place.presigned(
            method,
            name,
            self._credentials,
            at=self.clock.time(),
            seconds=_PUT_WITHIN_S if put else self._good_for,
        )
        return url.removeprefix(place.endpoint)


class _Reference(msgspec.Struct, frozen=True):
    """Stands where a file stood."""

    name: str


def taken_apart(body: bytes) -> tuple[Any, list[InlineFile]]:
    """A JSON body with references in the place of its files, and the files, each once."""
    files: dict[str, InlineFile] = {}

    def apart(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: apart(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [apart(inner) for inner in value]
        file = file_in(value) if isinstance(value, str) else None
        if file is None:
            return value
        files[file.name] = file
        return _Reference(file.name)

    return apart(msgspec.json.decode(body)), list(files.values())


def file_in(text: str) -> InlineFile | None:
    """The file of a ``data:`` URI that is worth a URL of its own."""
    if len(text) < _SMALLEST_FILE or not text.startswith("data:"):
        return None
    head, comma, payload = text[5:].partition(",")
    encoded = head.endswith(";base64")
    try:
        data = base64.b64decode(payload, validate=True) if encoded else unquote_to_bytes(payload)
    except (binascii.Error, ValueError):
        return None
    kind = head.removesuffix(";base64") or "text/plain"
    if not comma or not kind.isascii() or not kind.isprintable():
        return None
    return InlineFile(hashlib.sha256(data).hexdigest(), kind, data)


def _not_stored(kind: FailureClass, why: str) -> BackendError:
    return BackendError(
        kind,
        "A file of the request could not be put into the object store.",
        detail=f"the object store: {why}",
    )


def _put_together(value: Any, urls: dict[str, str]) -> Any:
    if isinstance(value, _Reference):
        return urls[value.name]
    if isinstance(value, dict):
        return {key: _put_together(inner, urls) for key, inner in value.items()}
    if isinstance(value, list):
        return [_put_together(inner, urls) for inner in value]
    return value
