"""The jobs of a backend's calls at its platform, known so that a call can be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from adapters.base import Clock
from adapters.errors import BackendError
from adapters.types import Usage

T = TypeVar("T")

MOST_JOBS = 10_000
"""Jobs that are remembered; past it the oldest is left to the limits it was given."""
MOST_SUBMITS = 1_000
"""Submits that were left and are kept; past it the same."""
TRIES = 3
_FIRST_PAUSE_S = 0.2


def _itself(answer: Any) -> Any:
    return answer


class RemoteJobs(Generic[T]):
    """By a call's id: its job, from the submit's answer until its end was seen.

    Before that answer nobody knows the job's name, so the submit of a caller who has gone is kept
    until somebody cancels the call. ``stop`` ends a job at the platform, says what it used, and
    raises BackendError where the platform could not be told: it is tried three times. ``named``
    reads the job out of a submit's answer.
    """

    def __init__(
        self,
        stop: Callable[[T], Awaitable[Usage | None]],
        clock: Clock,
        *,
        named: Callable[[Any], T] = _itself,
    ) -> None:
        self._stop = stop
        self._clock = clock
        self._named = named
        self._jobs: dict[str, T] = {}
        self._submits: dict[str, asyncio.Future[Any]] = {}
        self._stopping: set[asyncio.Task[Usage | None]] = set()

    def __len__(self) -> int:
        """Jobs that are remembered."""
        return len(self._jobs)

    @property
    def jobs(self) -> list[T]:
        """Those that had not ended when they were last seen."""
        return list(self._jobs.values())

    @property
    def submits(self) -> list[asyncio.Future[Any]]:
        """Those that were left and that nobody has cancelled."""
        return list(self._submits.values())

    def remember(self, call_id: str, job: T) -> None:
        """A call has become this job. One without an id cannot be cancelled."""
        _keep(self._jobs, call_id, job, MOST_JOBS)

    def forget(self, call_id: str) -> None:
        """The end of the call's job was seen, or is somebody else's matter."""
        self._jobs.pop(call_id, None)

    def keep(self, call_id: str, submit: asyncio.Future[Any]) -> None:
        """Keeps a submit, done or not, whose caller has gone."""
        _keep(self._submits, call_id, submit, MOST_SUBMITS)

    async def submitted(self, call_id: str, submit: asyncio.Future[Any]) -> T:
        """The job that a submit's answer names. The submit is kept where this task is cancelled
        meanwhile. Raises what the submit raises, and what ``named`` does."""
        try:
            answer = await asyncio.shield(submit)
        except asyncio.CancelledError:
            self.keep(call_id, submit)
            raise
        return self._named(answer)

    async def cancel(self, call_id: str) -> Usage | None:
        """Stops a call's job, and waits for its name where its submit was left; a no-op for an
        unknown id. Goes on where the task that awaits it is cancelled: else the job would run for
        nobody."""
        job, submit = self._jobs.pop(call_id, None), self._submits.pop(call_id, None)
        if job is None and submit is None:
            return None
        work = self._stop_submitted(submit) if job is None else self._stop_known(job)
        stopping = asyncio.ensure_future(work)
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)
        try:
            return await asyncio.shield(stopping)
        except asyncio.CancelledError:
            if stopping.cancelled():
                return None
            raise

    async def aclose(self) -> None:
        """Forgets every job, and tells the platform no more."""
        self._jobs.clear()
        self._submits.clear()
        for stopping in list(self._stopping):
            stopping.cancel()
            await asyncio.wait([stopping])

    async def _stop_submitted(self, submit: asyncio.Future[Any] | None) -> Usage | None:
        assert submit is not None
        try:
            job = self._named(await asyncio.shield(submit))
        except BackendError:
            return None
        return await self._stop_known(job)

    async def _stop_known(self, job: T) -> Usage | None:
        for attempt in range(TRIES):
            if attempt:
                await self._clock.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                return await self._stop(job)
            except BackendError:
                continue
        return None


def _keep(kept: dict[str, T], call_id: str, one: T, most: int) -> None:
    """The oldest goes where there are too many."""
    if call_id:
        kept[call_id] = one
        if len(kept) > most:
            del kept[next(iter(kept))]
