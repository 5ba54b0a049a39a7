"""What comes back over a connection: an answer that is whole, or one whose body arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Protocol

import msgspec

from adapters.errors import BackendError

HIGH_WATER = 256 * 1024
"""Bytes of a stream that may wait for its reader before the socket is no longer read."""
MAX_REFUSAL = 64 * 1024
"""Bytes of a refusal's body that are read."""
LONGEST_RETRY_S = 86_400.0
"""A backend that asks to be left alone for longer is not believed."""


class Response(msgspec.Struct, eq=False):
    """A whole answer. Header names are as the server wrote them."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> str | None:
        """The first value of a header; ``name`` in lower case."""
        return find_header(self.headers, name)


def find_header(headers: list[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The first value of a header; ``name`` in lower case."""
    for key, value in headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return None


class BodySource(Protocol):
    """The exchange that a body belongs to; see ``connection.Exchange``."""

    deadline: float
    """The instant, on the Clock's monotonic scale, at which it is given up."""

    def resume(self) -> None:
        """Reads the socket again, where that was paused."""
        ...

    def abort(self) -> None:
        """Closes the connection, unless the answer is complete."""
        ...

    def retire(self) -> None:
        """Closes the connection, unless another exchange has taken it."""
        ...


class Body:
    """The body of an answer while it arrives, for one reader, who reads to the end or closes."""

    __slots__ = (
        "_chunks",
        "_ended",
        "_error",
        "_exchange",
        "_left",
        "_loop",
        "_push",
        "_size",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(
        self, exchange: BodySource, status: int, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.status = status
        self.headers = headers
        self._exchange = exchange
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = self._left = False
        self._error: BackendError | None = None
        self._push: Callable[[bytes], bool] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def header(self, name: bytes) -> str | None:
        """The first value of a header; ``name`` in lower case."""
        return find_header(self.headers, name)

    def feed(self, data: bytes) -> None:
        """Takes bytes from the connection, which says by ``tell`` that these are all for now."""
        if not self._left:
            self._chunks.append(data)
            self._size += len(data)

    def tell(self) -> bool:
        """The reader learns of what was fed; True once the connection should pause."""
        waiter = self._waiter
        if waiter is None or not self._chunks or waiter.done():
            return self._size > HIGH_WATER
        if self._push is None or not self._push(self._taken()):
            waiter.set_result(None)
        return self._size > HIGH_WATER

    def push_to(self, push: Callable[[bytes], bool] | None) -> None:
        """From now on ``push`` is given what arrives while the reader waits; False where the reader
        is to wake up, who finds none of it here. None: nobody is."""
        self._push = push

    def end(self, error: BackendError | None = None) -> None:
        """No more bytes will come; ``error`` where they broke off."""
        self._ended = True
        self._error = error
        self._wake()

    async def read(self) -> bytes:
        """All that has arrived, at least one byte; b"" at the end of a complete body.

        Raises BackendError (TRUNCATED, TIMEOUT, FAILED) where it broke off, after the bytes that
        came before.
        """
        if (news := self.news()) is not None:
            await news
        return self.arrived()

    def news(self) -> asyncio.Future[None] | None:
        """Done when something has arrived, or the body has ended; None where that is so."""
        if self._chunks or self._ended:
            return None
        if self._loop is None:  # asked once: it is a question to the kernel
            self._loop = asyncio.get_running_loop()
        self._waiter = self._loop.create_future()
        return self._waiter

    def arrived(self) -> bytes:
        """As ``read``, once ``news`` is None or done, and nothing was pushed."""
        chunks = self._chunks
        if not chunks:
            assert self._ended, "nothing has arrived"
            if self._error is not None:
                raise self._error
            return b""
        was_full = self._size > HIGH_WATER
        data = self._taken()
        if was_full and not self._ended:
            self._exchange.resume()
        return data

    async def read_all(self, limit: int) -> bytes:
        """The rest of the body, of which at most about ``limit`` bytes are taken."""
        parts: list[bytes] = []
        size = 0
        try:
            while data := await self.read():
                parts.append(data)
                size += len(data)
                if size > limit:
                    break
        finally:
            self.close()
        return b"".join(parts)

    async def to_response(self) -> Response:
        """A refusal whose body has yet to be read. Its head says what it is: a cut leaves the body
        empty and changes nothing else."""
        try:
            data = await self.read_all(MAX_REFUSAL)
        except BackendError:
            data = b""
        return Response(self.status, self.headers, data)

    def close(self) -> None:
        """Lets go of it. A connection whose answer is not complete is closed with it."""
        if not self._ended:
            self._exchange.abort()

    def distrust(self) -> None:
        """Lets go of a body that was no answer: its connection, unless another call has it by now,
        is closed rather than kept."""
        self._exchange.retire()

    def leave(self, deadline: float) -> None:
        """Nothing more is wanted; the connection may be used again if the answer ends in time."""
        if not self._ended:
            self._left = True
            self._chunks.clear()
            self._exchange.deadline = min(self._exchange.deadline, deadline)
            self._exchange.resume()

    def _taken(self) -> bytes:
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._size = 0
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def retry_after(headers: list[tuple[bytes, bytes]], now: float) -> float | None:
    """Seconds, from ``retry-after-ms`` or ``Retry-After`` (a number or a date, RFC 9110); a day at
    most."""
    try:
        seconds = _asked_to_wait(headers, now)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return None if seconds is None else min(max(0.0, seconds), LONGEST_RETRY_S)


def _asked_to_wait(headers: list[tuple[bytes, bytes]], now: float) -> float | None:
    if (milliseconds := find_header(headers, b"retry-after-ms")) is not None:
        return float(milliseconds) / 1000
    value = find_header(headers, b"retry-after")
    if value is None:
        return None
    if value.strip().replace(".", "", 1).isdigit():
        return float(value)
    return parsedate_to_datetime(value).timestamp() - now
