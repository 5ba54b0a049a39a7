"""The frames between processes: four bytes of length (big-endian), then one msgpack event.

Many calls are in flight on one socket; nothing here knows what a call is.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar, cast

import msgspec

from local_runtime.protocol.corked import Cork
from local_runtime.protocol.events import (
    Event,
    FromWorker,
    LifeSign,
    Promote,
    ToWorker,
)
from local_runtime.protocol.passing import is_unix, send_descriptor
from local_runtime.protocol.shared_memory import (
    NO_MEMORY,
    NoMemory,
    NoSuchPlace,
    RingPlace,
    SharedMemory,
)

MAX_FRAME = 256 * 1024 * 1024
"""Bytes of one frame, its length not counted; both ends must agree on a larger one."""

ENVELOPE = 64 * 1024
"""Bytes that an event may need beside its ``data`` or ``body``."""

STREAM_WINDOW = 1024 * 1024
"""Bytes of a stream that may be on their way before the reader gives credit."""

ENDS_LATER_S = 0.25
"""A worker ends a call so much later than its caller gives it up: of a handler that comes back when
it is cancelled, the caller hears what it used."""

_COPY_BELOW = 64 * 1024
_HEADER = struct.Struct(">I")
_pack = _HEADER.pack
_unpack_from = _HEADER.unpack_from
_encode = msgspec.msgpack.Encoder().encode

E = TypeVar("E")


class FrameTooLarge(Exception):
    """The peer announced, or we were asked to send, a frame above the limit."""


class BrokenProtocol(Exception):
    """The peer says what it must not say, or what this end cannot understand."""


decode_to_worker: Callable[[memoryview], ToWorker] = msgspec.msgpack.Decoder(ToWorker).decode
decode_from_worker: Callable[[memoryview], FromWorker] = msgspec.msgpack.Decoder(FromWorker).decode
decode_life_sign: Callable[[memoryview], LifeSign] = msgspec.msgpack.Decoder(LifeSign).decode
decode_promote: Callable[[memoryview], Promote] = msgspec.msgpack.Decoder(Promote).decode


def frame(event: Event) -> bytes:
    """The event as one frame, for a pipe."""
    payload = _encode(event)
    return _pack(len(payload)) + payload


class FrameReader:
    """Cuts a byte stream into frames of at most ``limit`` bytes, however it arrives in pieces."""

    __slots__ = ("_needed", "_partial", "limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.limit = limit
        self._partial = bytearray()
        self._needed = _HEADER.size

    def feed(self, data: bytes | bytearray) -> list[memoryview]:
        """The payloads that ``data`` completes, in order. Raises FrameTooLarge."""
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                return []
            data, self._partial = self._partial, bytearray()
        view, size, start = memoryview(data), len(data), 0
        self._needed = _HEADER.size
        frames: list[memoryview] = []
        while size - start >= 4:
            end = start + 4 + self._length(view, start)
            if end > size:
                self._needed = end - start
                break
            frames.append(view[start + 4 : end])
            start = end
        if start < size:
            self._partial += view[start:]
        return frames

    def _length(self, view: memoryview, start: int) -> int:
        length: int = _unpack_from(view, start)[0]
        if length > self.limit:
            raise FrameTooLarge(f"a frame of {length} bytes is above the limit of {self.limit}")
        return length


async def read_frames(reader: asyncio.StreamReader) -> AsyncIterator[memoryview]:
    """The payloads that come by a pipe, until its end. Raises FrameTooLarge."""
    frames = FrameReader()
    while data := await reader.read(_COPY_BELOW):
        for payload in frames.feed(data):
            yield payload


class FramedConnection(asyncio.Protocol, Generic[E]):
    """One end of a socket: decoded events in, events out.

    ``decode`` turns a payload into an event; ``receive`` is called with each one, in order, and
    may raise BrokenProtocol; ``lost`` is called once, when the socket is gone, with the error if
    there was one. A peer that breaks the protocol is cut off.
    """

    def __init__(
        self,
        *,
        decode: Callable[[memoryview], E],
        receive: Callable[[E], None],
        lost: Callable[[Exception | None], None],
        opened: Callable[[], None] | None = None,
        limit: int = MAX_FRAME,
    ) -> None:
        self._decode = decode
        self.receive = receive
        self._lost = lost
        self._opened = opened
        self._reader = FrameReader(limit)
        self._limit = limit
        self._transport: asyncio.Transport | None = None
        self._cork: Cork
        self.memory: NoMemory = NO_MEMORY
        """What both ends share, on one machine."""
        self._error: Exception | None = None
        self._drained: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._cork = Cork(self._write)
        if self._error is not None:  # of what was read before, while it was dialled
            self.abort()
        if self._opened is not None:
            self._opened()

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                self.receive(self._decode(payload))
        except (FrameTooLarge, BrokenProtocol, NoSuchPlace, msgspec.DecodeError) as error:
            self._error = error
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.memory.close()
        self.memory = NO_MEMORY
        self.resume_writing()
        self._lost(self._error or error)

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    @property
    def limit(self) -> int:
        """Bytes of the largest frame, of what comes and of what is sent."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = self._reader.limit = limit

    @property
    def congested(self) -> bool:
        """The peer reads more slowly than we write: whoever can wait should await drained()."""
        return self._drained is not None

    async def drained(self) -> None:
        """Waits until the peer has read on, or is gone."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def send(self, event: msgspec.Struct) -> None:
        """Queues the event; drops it when the socket is gone. Raises FrameTooLarge."""
        if self._transport is None:
            return
        payload = _encode(event)
        size = len(payload)
        if size > self._limit:
            raise FrameTooLarge(f"an event of {size} bytes is above the limit of {self._limit}")
        if size < _COPY_BELOW:
            self._cork.write(_pack(size) + payload)
        else:
            self._cork.flush()
            if not self._transport.is_closing():
                self._transport.writelines((_pack(size), payload))

    def place(self, data: bytes) -> RingPlace | None:
        """Puts ``data`` where the other end can read them; None where they must go through the
        socket: no memory is shared, it has no room, or they are more than a frame may hold."""
        return self.memory.put(data) if len(data) <= self._limit - ENVELOPE else None

    def send_first(self, event: Event) -> None:
        """Sends the first event of all, and with it memory to share, where whoever listens can take
        that."""
        transport = self._transport
        found: Any = None if transport is None else transport.get_extra_info("socket")
        created = SharedMemory.create() if is_unix(found) else None
        if transport is None or created is None:
            self.send(event)
            return
        self.memory, descriptor = created
        framed = frame(event)
        try:
            sent = send_descriptor(found.fileno(), framed[: _HEADER.size], descriptor)
        finally:
            os.close(descriptor)
        transport.write(framed[sent:])

    def _write(self, data: bytes) -> None:
        """What waited for the end of the turn: by then the peer may have hung up."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Closes after what was queued is sent."""
        if self._transport is not None:
            self._cork.flush()
            self._transport.close()

    def abort(self) -> None:
        """Closes at once; what was queued is lost."""
        if self._transport is not None:
            self._transport.abort()
