"""An answer as it comes, for any number who follow it from its start."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any, Protocol

import msgspec

from gateway.clock import Clock
from gateway.storage.streams.base import StreamState

MOST_KEPT = 4 * 1024 * 1024
"""Bytes of one answer; of a longer one the part that all who follow have seen is dropped, and it is
told to nobody else."""


class AnswerHead(msgspec.Struct, frozen=True):
    """Status and headers, as ASGI has them, in Latin-1."""

    status: int
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """Empty where it is not there."""
        return next((value for key, value in self.headers if key == name), "")


class Followed(Protocol):
    """What is followed, by one alone."""

    @property
    def head(self) -> AnswerHead | None: ...

    @property
    def state(self) -> StreamState: ...

    def take(self) -> bytes:
        """What has come since."""
        ...

    async def wait(self, longest_s: float) -> bool:
        """Until there is something to take, or a head, or it is over. False where nothing has come
        for so long. Raises StorageUnavailable."""
        ...

    def leave(self) -> None:
        """It is followed no more."""
        ...


class RecordedAnswer:
    """Belongs to one event loop, and is written by one task, which ends it."""

    def __init__(self, clock: Clock) -> None:
        self.head: AnswerHead | None = None
        self.state: StreamState = "running"
        self.begins_at = 0
        """The byte at which ``data`` begins."""
        self.data = bytearray()
        self.is_whole = self.is_broken = False
        """Its last byte has come; and that is the end of an error."""
        self._clock = clock
        self._places: set[_Place] = set()
        self._room = asyncio.Event()

    @property
    def is_large(self) -> bool:
        """Its beginning is gone, or too much would have to be kept."""
        return self.begins_at > 0 or len(self.data) > MOST_KEPT

    @property
    def ends_at(self) -> int:
        return self.begins_at + len(self.data)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """As ASGI's: waits while whoever follows a long answer is slow."""
        if message["type"] == "http.response.start":
            pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in
                     message["headers"])  # fmt: skip
            self.head = AnswerHead(message["status"], tuple(pairs))
        else:
            self.data += message.get("body", b"")
            more = message.get("more_body", False)
            self.is_whole, self.is_broken = not more, more is None
        self._tell()
        while len(self.data) > MOST_KEPT and not self.is_whole:
            self._drop()
            if len(self.data) > MOST_KEPT:
                self._room.clear()
                await self._room.wait()

    def end(self, state: StreamState) -> None:
        """Nothing comes any more."""
        self.state = state
        self._tell()

    def from_start(self) -> _Place:
        """For one more who follows it."""
        assert not self.is_large
        place = _Place(self, self._clock)
        self._places.add(place)
        return place

    def left(self, place: _Place) -> None:
        self._places.discard(place)
        self._room.set()

    def moved(self) -> None:
        """Somebody has taken something."""
        self._room.set()

    def _drop(self) -> None:
        seen = min((place.at for place in self._places), default=self.ends_at)
        del self.data[: seen - self.begins_at]
        self.begins_at = seen

    def _tell(self) -> None:
        for place in self._places:
            place.news.set()


class _Place:
    """How far one is who follows a recording."""

    def __init__(self, recording: RecordedAnswer, clock: Clock) -> None:
        self.at = 0
        self.news = asyncio.Event()
        self._recording = recording
        self._clock = clock

    @property
    def head(self) -> AnswerHead | None:
        return self._recording.head

    @property
    def state(self) -> StreamState:
        return self._recording.state

    def take(self) -> bytes:
        recording = self._recording
        found = bytes(memoryview(recording.data)[self.at - recording.begins_at :])
        self.at = recording.ends_at
        self.news.clear()
        recording.moved()
        return found

    async def wait(self, longest_s: float) -> bool:
        late = False

        def give_up() -> None:
            nonlocal late
            late = not self.news.is_set()
            self.news.set()

        timer = self._clock.call_later(longest_s, give_up)
        try:
            await self.news.wait()
        finally:
            timer.cancel()
        return not late

    def leave(self) -> None:
        self._recording.left(self)
