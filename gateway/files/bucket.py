"""Files' bytes in a bucket of an S3-compatible store, by presigned URLs.

A file is taken in on this machine's disk first: an object's length is said before it is sent, and
a caller that breaks off leaves nothing in the bucket. A thread sends and fetches: what calls need
of the event loop is not taken from them.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO

import httpx

from adapters.buckets.sigv4 import LONGEST_S
from adapters.buckets.urls import KeyedBucket
from gateway.clock import Clock
from gateway.files.contents import PIECE
from gateway.files.folder import FileWriting
from gateway.storage.base import StorageUnavailable

_WITHIN_S = 3_600
"""The longest that an object may take to be sent, once."""
_TIMEOUT_S = 30.0
"""Without a byte."""


class BucketContents:
    """``Contents`` in ``bucket``."""

    def __init__(self, bucket: KeyedBucket, clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock
        self._client: httpx.Client | None = None

    @contextlib.asynccontextmanager
    async def writing(self, id: str) -> AsyncIterator[FileWriting]:
        with tempfile.TemporaryFile(buffering=0) as file:
            out = FileWriting(file)
            yield out
            await out.flush()
            await asyncio.to_thread(self._put, id, file)

    @contextlib.asynccontextmanager
    async def read(self, id: str, start: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        with contextlib.ExitStack() as stack:
            response = await asyncio.to_thread(self._opened, id, start, stack)
            yield _in_turns(iter(()) if response is None else response.iter_bytes(PIECE))

    async def drop(self, id: str) -> None:
        await asyncio.to_thread(self._delete, id)

    def link(self, id: str, good_for_s: float) -> str | None:
        return self._url("GET", id, int(min(good_for_s, LONGEST_S)))

    async def aclose(self) -> None:
        if self._client is not None:
            self._client.close()

    def _url(self, method: str, id: str, seconds: int = _WITHIN_S) -> str:
        bucket = self._bucket
        return bucket.place.presigned(
            method, id, bucket.credentials, at=self._clock.time(), seconds=seconds
        )

    # --- on a thread ---

    @property
    def _http(self) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(timeout=_TIMEOUT_S, trust_env=False)
        return self._client

    def _put(self, id: str, file: IO[bytes]) -> None:
        size = file.seek(0, 2)
        file.seek(0)
        pieces = iter(lambda: file.read(PIECE), b"")
        with _failures():
            answer = self._http.put(
                self._url("PUT", id), content=pieces, headers={"content-length": str(size)}
            )
        _check(answer.status_code, "takes no file")

    def _opened(self, id: str, start: int, stack: contextlib.ExitStack) -> httpx.Response | None:
        """None: there is nothing from ``start`` on."""
        wanted = {"range": f"bytes={start}-"} if start else {}
        with _failures():
            asked = self._http.stream("GET", self._url("GET", id), headers=wanted)
            answer = stack.enter_context(asked)
        if answer.status_code == 404:
            raise LookupError(id)
        if answer.status_code == 416 and start:
            return None
        if answer.status_code != (206 if start else 200):
            raise StorageUnavailable(
                f"the bucket of files gives no file: it answered with status {answer.status_code}"
            )
        return answer

    def _delete(self, id: str) -> None:
        with _failures():
            answer = self._http.delete(self._url("DELETE", id))
        if answer.status_code != 404:
            _check(answer.status_code, "drops no file")


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, OSError) as error:  # its words may hold the URL, which is a key
        raise StorageUnavailable(f"the bucket of files: {type(error).__name__}") from None


def _check(status: int, what: str) -> None:
    if status not in (200, 201, 204):
        raise StorageUnavailable(f"the bucket of files {what}: it answered with status {status}")


async def _in_turns(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(_next(pieces)):
        yield piece


def _next(pieces: Iterator[bytes]) -> Callable[[], bytes]:
    def found() -> bytes:
        with _failures():
            return next(pieces, b"")

    return found
