"""Memory that the two ends of a worker's Unix socket share, for what is too large to go through it.

A body of a mebibyte goes through a socket in pieces that both ends wait for, and is copied five
times on its way; here whoever sends copies it once into the memory, and whoever is told where it
lies copies it out again. The memory has two rings, one for each direction. It has no name in any
folder (man 2 memfd_create): when both ends are gone, however they went, so is it.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from typing import NamedTuple

SHARED_FROM = 128 * 1024
"""Bytes of a body or a result from which on it goes through shared memory."""
RING = 32 * 1024 * 1024
"""Bytes of each direction. What finds no room goes through the socket."""
TRIM_S = 5.0
"""Memory that was not used for so many seconds is given back to the system."""

_HEAD = mmap.PAGESIZE
_LINE = 64
"""Bytes of a cache line: what the two ends write lies in different ones."""
_MOST = 1 << 31
_NOBODY_CUTS = getattr(fcntl, "F_SEAL_SHRINK", 0) | getattr(fcntl, "F_SEAL_GROW", 0)


class NoSuchPlace(Exception):
    """The other end speaks of a place that is none."""


class NotShareable(OSError):
    """A descriptor of something else, or of what may be cut short under whoever maps it."""


class RingPlace(NamedTuple):
    """Where something lies in a ring."""

    start: int
    size: int
    end: int
    """How far the ring was written with it, in bytes since the beginning."""


class Ring:
    """One direction: one end puts, the other takes, in the same order. ``taken`` is one number in
    the shared memory, which the taker writes: how far it has read."""

    __slots__ = ("_floor", "_head", "_size", "_space", "_taken", "puts", "written")

    def __init__(self, taken: memoryview, space: memoryview) -> None:
        self._taken = taken
        self._space = space
        self._size = len(space)
        self._head = 0
        self._floor = 0
        """So far it was read at the last put."""
        self.puts = 0
        """How often something was put."""
        self.written = 0
        """Bytes from the start of the ring that were written since they were last given back."""

    @property
    def empty(self) -> bool:
        """All that was put has been taken."""
        return self._read_up_to() == self._head

    def put(self, data: bytes) -> RingPlace | None:
        """Copies ``data`` into the ring; None where it has no room."""
        read, head, size = self._read_up_to(), self._head, self._size
        start = head % size
        empty = read == head
        if empty or start + len(data) > size:
            head += -start % size
            start = 0
        if empty:  # the start of the ring is in the caches, and in memory at all
            read = head
        end = head + -(-len(data) // _LINE) * _LINE
        if end - read > size:
            return None
        self._space[start : start + len(data)] = data
        self._head, self._floor = end, read
        self.puts += 1
        self.written = max(self.written, start + len(data))
        return RingPlace(start, len(data), end)

    def take(self, start: int, size: int, end: int) -> bytes:
        """What lies at the place, which is free from then on. Raises NoSuchPlace."""
        if start < 0 or size < 0 or start + size > self._size or not 0 <= end < 1 << 63:
            raise NoSuchPlace(f"a ring of {self._size} bytes has no {size} from {start} on")
        data = bytes(self._space[start : start + size])
        self._taken[0] = end
        return data

    def release(self) -> None:
        """Lets go of the memory."""
        self._taken.release()
        self._space.release()

    def _read_up_to(self) -> int:
        """A taker that says what cannot be has taken nothing."""
        read: int = self._taken[0]
        return read if self._floor <= read <= self._head else self._floor


class NoMemory:
    """A connection that shares none."""

    def put(self, data: bytes) -> RingPlace | None:
        """Nothing has room."""
        return None

    def take(self, start: int, size: int, end: int) -> bytes:
        """Raises NoSuchPlace."""
        raise NoSuchPlace("the other end speaks of memory, and none is shared with it")

    def agreed(self) -> None:
        """There is nothing to agree on."""

    def trim(self, now: float) -> None:
        """There is nothing to give back."""

    def close(self) -> None:
        """There is nothing to let go of."""


NO_MEMORY = NoMemory()


class SharedMemory(NoMemory):
    """The memory of one connection, as one of its ends has it. Nothing is put before both are known
    to have it."""

    def __init__(self, memory: mmap.mmap, *, first: bool) -> None:
        """``first``: this end puts into the first of the two rings, and takes from the other."""
        self._memory = memory
        self._view = view = memoryview(memory)
        size = (len(memory) - _HEAD) // 2
        rings = (
            Ring(view[:8].cast("Q"), view[_HEAD : _HEAD + size]),
            Ring(view[_LINE : _LINE + 8].cast("Q"), view[_HEAD + size :]),
        )
        self._sends, self._receives = rings if first else rings[::-1]
        self._offset = _HEAD if first else _HEAD + size
        """Where the ring that this end puts into begins."""
        self._agreed = False
        self._seen = 0
        self._seen_at = 0.0

    @classmethod
    def create(cls, ring: int = RING) -> tuple[SharedMemory, int] | None:
        """New memory, and its descriptor, which is to be handed on and closed; None where the
        system has none to give. ``ring`` is in bytes, whole pages."""
        try:
            descriptor = os.memfd_create("spillgate", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except (AttributeError, OSError):  # no Linux; no more descriptors
            return None
        try:
            os.ftruncate(descriptor, _HEAD + 2 * ring)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _NOBODY_CUTS | fcntl.F_SEAL_SEAL)
            return cls(mmap.mmap(descriptor, _HEAD + 2 * ring), first=True), descriptor
        except OSError:
            os.close(descriptor)
            return None

    @classmethod
    def attach(cls, descriptor: int) -> SharedMemory:
        """The memory that the other end has created. Raises NotShareable, and OSError."""
        shared = cls(mmap.mmap(descriptor, _size_of(descriptor)), first=False)
        shared.agreed()
        return shared

    def agreed(self) -> None:
        """The other end has it too."""
        self._agreed = True

    def put(self, data: bytes) -> RingPlace | None:
        """Where ``data`` lies from now on for the other end; None where there is no room."""
        return self._sends.put(data) if self._agreed else None

    def take(self, start: int, size: int, end: int) -> bytes:
        """What the other end has put there. Raises NoSuchPlace."""
        return self._receives.take(start, size, end)

    def trim(self, now: float) -> None:
        """Gives back what this end has not put anything into for ``TRIM_S``; to be called now and
        then."""
        ring = self._sends
        if ring.puts != self._seen:
            self._seen, self._seen_at = ring.puts, now
        elif ring.written and now - self._seen_at >= TRIM_S and ring.empty:
            with contextlib.suppress(OSError):
                self._memory.madvise(mmap.MADV_REMOVE, self._offset, ring.written)
            ring.written = 0

    def close(self) -> None:
        """Lets go of the memory."""
        self._agreed = False
        self._sends.release()
        self._receives.release()
        self._view.release()
        self._memory.close()


def _size_of(descriptor: int) -> int:
    """Of memory in pages of the usual size that nobody can cut short: to touch what is no longer
    there would kill this process."""
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except (AttributeError, OSError):
        seals = 0
    if seals & _NOBODY_CUTS != _NOBODY_CUTS or not seals:
        raise NotShareable("it is no sealed memory")
    if os.fstatvfs(descriptor).f_bsize != mmap.PAGESIZE:
        raise NotShareable("its pages are of another size")
    size = os.fstat(descriptor).st_size
    if not 3 * mmap.PAGESIZE <= size <= _MOST or (size - _HEAD) % (2 * mmap.PAGESIZE):
        raise NotShareable(f"{size} bytes are no two rings")
    return size
