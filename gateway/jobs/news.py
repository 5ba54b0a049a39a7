"""Who waits for news of a job: told at once of what happens in this process, and of what other
gateways do by looking now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

from gateway.clock import Clock

LOOK_EVERY_S = 1.0


class JobNews:
    """Belongs to one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def tell(self, id: str) -> None:
        """Something of the job has changed."""
        for listener in self._listeners.get(id, ()):
            listener.set()

    @contextlib.contextmanager
    def of(self, id: str) -> Iterator[asyncio.Event]:
        """Set at the next news; whoever waits clears it."""
        listener = asyncio.Event()
        self._listeners[id].add(listener)
        try:
            yield listener
        finally:
            self._listeners[id].discard(listener)
            if not self._listeners[id]:
                del self._listeners[id]

    async def wait(self, listener: asyncio.Event, longest_s: float) -> None:
        """Until there is news, or it is time to look all the same."""
        timer = self._clock.call_later(min(longest_s, LOOK_EVERY_S), listener.set)
        try:
            await listener.wait()
        finally:
            timer.cancel()
            listener.clear()
