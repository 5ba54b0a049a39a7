"""A stream that another process writes, or has written: read from the store."""

from __future__ import annotations

import msgspec

from gateway.clock import Clock
from gateway.storage.streams.base import StreamState, StreamStore
from gateway.streams.recording import AnswerHead

LOOK_EVERY_S = 0.25
_head = msgspec.json.Decoder(AnswerHead).decode


class StoredStream:
    """A ``Followed``. One that was forgotten meanwhile is cut."""

    def __init__(self, store: StreamStore, clock: Clock, id: str) -> None:
        self.head: AnswerHead | None = None
        self.state: StreamState = "running"
        self._store = store
        self._clock = clock
        self._id = id
        self._at = 0
        self._data = b""

    def take(self) -> bytes:
        found, self._data = self._data, b""
        self._at += len(found)
        return found

    async def wait(self, longest_s: float) -> bool:
        until = self._clock.monotonic() + longest_s
        while not await self._look():
            left_s = until - self._clock.monotonic()
            if left_s <= 0:
                return False
            await self._clock.sleep(min(left_s, LOOK_EVERY_S))
        return True

    async def _look(self) -> bool:
        part = await self._store.read(self._id, self._at)
        if part is None:
            self.state = "cut"
            return True
        news = bool(part.data) or (self.head is None and bool(part.head))
        if part.head:
            self.head = _head(part.head)
        self._data = part.data
        if part.state != "running" and not part.data:
            self.state = part.state
            return True
        return news

    def leave(self) -> None:
        """Nothing is held for it."""
