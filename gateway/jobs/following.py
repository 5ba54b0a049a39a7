"""What happens to a job, as it happens: the frames of server-sent events, which resume where a
follower left off (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from gateway.clock import Clock
from gateway.jobs.jobs import Jobs
from gateway.jobs.records import read_fault
from gateway.storage.jobs.base import JobEvent, StoredJob
from gateway.storage.jobs.states import ENDED

COMMENT_EVERY_S = 15.0
"""Load balancers end a connection that says nothing for a minute or so."""
_COMMENT = b": waiting\n\n"
_PAGE = 500


class JobFollower:
    """One who follows a job, from after the event ``after`` on."""

    def __init__(self, jobs: Jobs, clock: Clock, id: str, after: int) -> None:
        self._jobs = jobs
        self._clock = clock
        self._id = id
        self._after = after
        self._place: object = None
        """What was told last of its place in line."""
        self._said_at = clock.monotonic()

    async def frames(self) -> AsyncIterator[bytes]:
        """Until the job has ended. Raises StorageUnavailable."""
        with self._jobs.news.of(self._id) as news:
            while True:
                # Before its events: its end is in them.
                job = await self._jobs.store.glance(self._id)
                over = job is None or job.state in ENDED
                text = await self._events()
                if job is not None:
                    text += await self._ended() if over else await self._in_line(job)
                if text or self._clock.monotonic() - self._said_at >= COMMENT_EVERY_S:
                    self._said_at = self._clock.monotonic()
                    yield text or _COMMENT
                if over:
                    return
                await self._jobs.news.wait(news, COMMENT_EVERY_S)

    async def _events(self) -> bytes:
        text = b""
        while page := await self._jobs.store.events(self._id, self._after, _PAGE):
            self._after = page[-1].number
            text += b"".join(map(_framed, page))
            if len(page) < _PAGE:
                break
        return text

    async def _ended(self) -> bytes:
        """All of the job."""
        job = await self._jobs.store.get(self._id)
        return b"" if job is None else _frame("job", await self._jobs.view(job))

    async def _in_line(self, job: StoredJob) -> bytes:
        """Its place in line, where that has changed."""
        if job.state != "queued":
            return b""
        view = await self._jobs.view(job)
        queue = view["queue"]
        assert isinstance(queue, dict)
        place = (queue["position"], read_fault(job.error))
        if place == self._place:
            return b""
        self._place = place
        return _frame("queue", queue)


def _frame(kind: str, data: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(data))


def _framed(event: JobEvent) -> bytes:
    return f"id: {event.number}\nevent: {event.kind}\ndata: {event.data}\n\n".encode()
