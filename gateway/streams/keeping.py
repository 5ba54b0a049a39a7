"""Who has which name, and that what comes is in the store soon after."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from gateway.clock import Clock
from gateway.storage.base import StorageUnavailable
from gateway.storage.streams.base import NewStream, StreamState, StreamStore
from gateway.streams.recording import Followed, RecordedAnswer
from gateway.streams.stored import StoredStream
from gateway.tasks import BackgroundTasks

log = logging.getLogger("spillgate")

LEASE_S = 20.0
WRITE_EVERY_S = 0.25
_RENEW_EVERY_S = 5.0
_AT_ONCE = 64 * 1024
_STORE_AGAIN_S = 1.0
_PRUNE_EVERY_S = 60.0
_PRUNED_AT_ONCE = 200
_DRAIN_S = 25.0
"""How long the end of a gateway waits for streams that nobody follows any more."""
_WRITTEN_S = 5.0

Answer = Callable[[Callable[[MutableMapping[str, Any]], Awaitable[None]]], Awaitable[bool]]
"""Answers a call to an ASGI ``send``; False where nothing was asked of anybody, so that the name is
free again."""


class NameTaken(Exception):
    """Raised where the name is that of another request, or of one that is kept no more."""

    def __init__(self, id: str, *, same: bool) -> None:
        super().__init__(id)
        self.id = id
        self.same = same
        """It was the same request, and its answer was too long to be kept."""


class KeptStreams:
    """Of one process."""

    def __init__(self, store: StreamStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._tasks = BackgroundTasks()
        self._writers = BackgroundTasks()
        self._here: dict[str, RecordedAnswer] = {}
        """Call -> what comes of it; until all is in the store."""

    async def open(self, new: NewStream, answer: Answer) -> tuple[Followed, bool]:
        """The answer to a request from its start, and whether it was asked for by this: ``answer``
        is called then, and goes on when nobody follows it. Raises NameTaken, StreamsFull and
        StorageUnavailable: nothing is asked then."""
        try:
            known = await self._store.claim(new)
        except (StorageUnavailable, asyncio.CancelledError):  # it may be ours, and nothing is asked
            self._tasks.run(self._forget(new.id))
            raise
        if known.digest not in (new.digest, *new.older) or not known.is_stream:
            raise NameTaken(known.id, same=False)
        if known.id != new.id:
            return self._known(known.id), False
        recording = self._here[new.id] = RecordedAnswer(self._clock)
        place = recording.from_start()
        asking = self._tasks.run(self._ask(recording, new.id, answer))
        asking.add_done_callback(lambda _: recording.end(_cut_or(recording.state)))
        self._writers.run(_Writer(self._store, self._clock, recording, new.id, self._done).run())
        return place, True

    def _known(self, id: str) -> Followed:
        recording = self._here.get(id)
        if recording is None:
            return StoredStream(self._store, self._clock, id)
        if recording.is_large:
            raise NameTaken(id, same=True)
        return recording.from_start()

    async def _ask(self, recording: RecordedAnswer, id: str, answer: Answer) -> None:
        asked, is_answered = True, False
        try:
            asked = await answer(recording.send)
            is_answered = True
        finally:
            if not asked:
                await self._forget(id)
            has_said_its_end = is_answered or recording.is_broken  # of an error, before a shutdown
            recording.end(_end_of(recording) if has_said_its_end else "cut")

    async def _forget(self, id: str) -> None:
        self._here.pop(id, None)
        try:
            await self._store.forget(id)
        except StorageUnavailable as unavailable:
            log.error("stream %s: %s; its name is free in a day", id, unavailable)

    def _done(self, id: str) -> None:
        self._here.pop(id, None)

    async def run(self) -> None:
        """Drops what is old, for ever."""
        while True:
            pruned = 0
            with contextlib.suppress(StorageUnavailable):  # there is time
                pruned = await self._store.prune(_PRUNED_AT_ONCE)
            await self._clock.sleep(0.1 if pruned >= _PRUNED_AT_ONCE else _PRUNE_EVERY_S)

    async def aclose(self) -> None:
        """What is still asked for has some time to end, and is cut then."""
        await self._within(_DRAIN_S, self._tasks)
        await self._tasks.cancel()
        await self._within(_WRITTEN_S, self._writers)
        await self._writers.cancel()
        await self._store.aclose()

    @staticmethod
    async def _within(longest_s: float, tasks: BackgroundTasks) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await tasks.drain()


def _end_of(recording: RecordedAnswer) -> StreamState:
    if recording.is_broken:
        return "broken"
    return "ended" if recording.is_whole else "cut"


def _cut_or(state: StreamState) -> StreamState:
    return "cut" if state == "running" else state


class _Writer:
    """One recording, to its end in the store, or until the lease of it is lost."""

    def __init__(
        self,
        store: StreamStore,
        clock: Clock,
        recording: RecordedAnswer,
        id: str,
        done: Callable[[str], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._recording = recording
        self._place = recording.from_start()
        self._id = id
        self._done = done
        self._at = 0
        self._next: tuple[int, bytes] | None = None
        """What was said to the store last, and is said again where nobody knows."""
        self._failing = False
        self._said_at = clock.monotonic()
        """When the store was told last."""

    async def run(self) -> None:
        place = self._place
        try:
            while await self._write():
                place.at = self._at
                self._recording.moved()
                if self._recording.ends_at == self._at and not self._over:
                    place.news.clear()
                    await place.wait(_RENEW_EVERY_S)
                    if not self._over:  # what comes within a moment is written together
                        await self._clock.sleep(WRITE_EVERY_S)
        finally:
            place.leave()
            self._done(self._id)

    @property
    def _over(self) -> bool:
        return self._recording.state != "running"

    def _piece(self) -> tuple[int, bytes]:
        if self._next is None:
            recording = self._recording
            if recording.is_large:  # and is not kept: nothing but that is said
                return recording.ends_at, b""
            begin = self._at - recording.begins_at
            self._next = (self._at, bytes(recording.data[begin : begin + _AT_ONCE]))
        at, data = self._next
        if not data:
            self._next = None
        return at, data

    async def _write(self) -> bool:
        """The next piece; False where nothing is left to be said."""
        at, data = self._piece()
        recording = self._recording
        is_told = self._over and at + len(data) >= recording.ends_at
        last = recording.is_large or is_told
        try:
            done = await (self._end(at, data) if last else self._keep(at, data))
        except StorageUnavailable as unavailable:
            if not self._failing:
                log.error("stream %s: %s; it waits for the store", self._id, unavailable)
            self._failing = True
            await self._clock.sleep(_STORE_AGAIN_S)
            return self._clock.monotonic() - self._said_at < LEASE_S
        self._failing, self._next, self._at = False, None, at + len(data)
        self._said_at = self._clock.monotonic()
        return done and not last

    async def _keep(self, at: int, data: bytes) -> bool:
        return await self._store.keep(self._id, at, data, self._head(), LEASE_S)

    async def _end(self, at: int, data: bytes) -> bool:
        recording = self._recording
        state: StreamState = "large" if recording.is_large else recording.state
        return await self._store.end(self._id, at, data, self._head(), state)

    def _head(self) -> str:
        head = self._recording.head
        return "" if head is None else msgspec.json.encode(head).decode()
