"""Whose turn it is to take the next connection: whoever has fewest, by counts in memory that the
processes share. Each writes its own and reads those of the others, so none waits for a lock."""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from collections.abc import Callable

from gateway.clock import Clock

_BYTES = 8
_EVERY_S = 0.25
"""A process without new connections tells so often that some have ended."""


class ConnectionCounts:
    """One place for each process. A place that nobody has is 0, any other one more than the
    connections of its process."""

    def __init__(self, descriptor: int, places: int) -> None:
        """``descriptor``: of the memory, as ``memory_for`` has made it."""
        self._memory = mmap.mmap(descriptor, places * _BYTES)
        self._counts = memoryview(self._memory).cast("q")

    def set(self, place: int, connections: int) -> None:
        """The process there has so many."""
        self._counts[place] = connections + 1

    def leave(self, place: int) -> None:
        """The process there takes no more."""
        self._counts[place] = 0

    def fewest_but(self, place: int) -> int | None:
        """The fewest that another one has; None where there is no other."""
        counts = self._counts.tolist()
        counts[place] = 0
        return min((one - 1 for one in counts if one), default=None)

    def close(self) -> None:
        """A second time changes nothing."""
        self._counts.release()
        self._memory.close()


class Turns:
    """Of the process at ``place``."""

    def __init__(self, counts: ConnectionCounts, place: int, clock: Clock) -> None:
        self.connections: Callable[[], int] = int
        """How many it has."""
        self._counts = counts
        self._place = place
        self._clock = clock
        self._has_left = False

    def is_others(self, coming: int) -> bool:
        """Whether another has fewer; ``coming``: those that were taken here and are not counted
        yet."""
        own = self.connections() + coming
        self._counts.set(self._place, own)
        fewest = self._counts.fewest_but(self._place)
        return fewest is not None and fewest < own

    async def keep_counting(self) -> None:
        """For ever, or until it takes no more."""
        while not self._has_left:
            self._counts.set(self._place, self.connections())
            await self._clock.sleep(_EVERY_S)

    def leave(self) -> None:
        """It takes no more."""
        self._has_left = True
        self._counts.leave(self._place)


def places_for(count: int) -> int:
    """Where so many processes are to serve: at a rolling restart old ones end late."""
    return 4 * count


def memory_for(places: int) -> int:
    """The descriptor of memory for so many counts, all 0. Raises OSError."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("spillgate-connections")
    else:
        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
    try:
        os.ftruncate(descriptor, places * _BYTES)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    return descriptor
