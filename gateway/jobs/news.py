"""Who waits for news of a job: told at once of what happens in this process, and of what other
gateways do by looking now and then. And what is news of all that a platform says."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

import msgspec

from adapters.types import JobState
from gateway.backends.redaction import Redactor
from gateway.clock import Clock
from gateway.storage.base import StorageUnavailable
from gateway.storage.jobs.base import LOWEST, JobEvent, JobStore, StoredJob

LOOK_EVERY_S = 1.0
MOST_TOLD = 256 * 1024
"""Characters of a job's logs that are told, bytes of the pieces of its output, and of what it says
of its progress at once."""
_MOST_EVENTS = 1_000
_PAGE = 500


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


class _Told(msgspec.Struct):
    """The data of an event, as far as it says where the next one goes on."""

    at: int = 0
    text: str = ""
    index: int = 0
    pieces: list[msgspec.Raw] = []
    progress: msgspec.Raw = msgspec.Raw(b"")


_told = msgspec.json.Decoder(_Told).decode


class ToldMeanwhile:
    """What a platform says of one job that it has: what is new of it is written down for those who
    follow the job, once, and within bounds. Nobody follows a line of a batch."""

    def __init__(self, store: JobStore, job: StoredJob) -> None:
        self._store = store
        self._id = job.id
        self._is_followed = job.rank > LOWEST
        self._knows = job.epoch == 1  # else another gateway may have told some of it
        self._found: JobState | None = None
        self._events = self._logs = self._pieces = self._bytes = 0
        self._progress = b""

    def seen(self, found: JobState) -> None:
        """What the platform says now."""
        if self._is_followed and (found.logs or found.progress is not None or found.pieces):
            self._found = found

    async def write(self, redactor: Redactor) -> None:
        """What was seen last, as far as it is new. A store that does not answer is told with the
        next of it."""
        found, self._found = self._found, None
        if found is None:
            return
        with contextlib.suppress(StorageUnavailable):
            if not self._knows:
                await self._read()
            await self._write_progress(found, redactor)
            await self._write_pieces(found, redactor)
            await self._write_logs(found, redactor)

    async def _write_progress(self, found: JobState, redactor: Redactor) -> None:
        progress = b"" if found.progress is None else redactor(bytes(found.progress))
        if progress and progress != self._progress and len(progress) <= MOST_TOLD:
            await self._note("progress", b'{"progress":%b}' % progress)
            self._progress = progress

    async def _write_pieces(self, found: JobState, redactor: Redactor) -> None:
        new = [redactor(bytes(piece)) for piece in found.pieces[self._pieces :]]
        size = sum(map(len, new))
        if new and self._bytes + size <= MOST_TOLD:
            await self._note(
                "output", b'{"index":%d,"pieces":[%b]}' % (self._pieces, b",".join(new))
            )
            self._pieces += len(new)
            self._bytes += size

    async def _write_logs(self, found: JobState, redactor: Redactor) -> None:
        written = found.logs.encode()
        said = redactor(written) if found.reply is not None else redactor.split(written)[0]
        text = said.decode("utf-8", "replace")[self._logs : MOST_TOLD]
        if text:
            data = msgspec.json.encode({"at": self._logs, "text": text})
            await self._note("log", data)
            self._logs += len(text)

    async def _note(self, kind: str, data: bytes) -> None:
        if self._events < _MOST_EVENTS:
            on_one_line = msgspec.json.format(data, indent=-1)
            await self._store.note(self._id, kind, on_one_line.decode())
            self._events += 1

    async def _read(self) -> None:
        """How far another gateway has come with it."""
        after = 0
        while page := await self._store.events(self._id, after, _PAGE):
            for event in page:
                self._take_over(event)
            after = page[-1].number
        self._knows = True

    def _take_over(self, event: JobEvent) -> None:
        if event.kind not in ("log", "progress", "output"):
            return
        told = _told(event.data)
        self._events += 1
        if event.kind == "progress":
            self._progress = bytes(told.progress)
        elif event.kind == "log":
            self._logs = told.at + len(told.text)
        else:
            self._pieces = told.index + len(told.pieces)
            self._bytes += sum(len(piece) for piece in told.pieces)
