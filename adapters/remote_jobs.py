"""Submits that were left before their answer came, which alone names the remote job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from adapters.errors import BackendError
from adapters.types import Usage

T = TypeVar("T")

_MOST = 1000
"""Answers that are kept; past it the oldest job is left to the limits it was given."""


class RemoteJobs(Generic[T]):
    """Keeps the answer of a submit whose caller has gone, until somebody cancels the call."""

    def __init__(self, stop: Callable[[T], Awaitable[Usage | None]]) -> None:
        self._stop = stop
        self._held: dict[str, asyncio.Future[T]] = {}
        self._late: set[asyncio.Task[Usage | None]] = set()

    @property
    def kept(self) -> list[asyncio.Future[T]]:
        """Submits that nobody has cancelled."""
        return list(self._held.values())

    async def answer(self, call_id: str, submit: asyncio.Future[T]) -> T:
        """Awaits a submit, and keeps it where this task is cancelled meanwhile."""
        try:
            return await asyncio.shield(submit)
        except asyncio.CancelledError:
            self.hold(call_id, submit)
            raise

    def hold(self, call_id: str, submit: asyncio.Future[T]) -> None:
        """Keeps a submit, done or not. The oldest goes where there are too many."""
        if not call_id:
            return
        self._held[call_id] = submit
        if len(self._held) > _MOST:
            del self._held[next(iter(self._held))]

    async def stop(self, call_id: str) -> Usage | None:
        """Stops the job that a held answer names, once it comes; a no-op for an unknown id. Goes
        on where the task that awaits it is cancelled: else the job would run for nobody."""
        held = self._held.pop(call_id, None)
        if held is None:
            return None
        late = asyncio.ensure_future(self._stop_named(held))
        self._late.add(late)
        late.add_done_callback(self._late.discard)
        try:
            return await asyncio.shield(late)
        except asyncio.CancelledError:
            if late.cancelled():
                return None
            raise

    async def aclose(self) -> None:
        self._held.clear()
        for late in list(self._late):
            late.cancel()
            await asyncio.wait([late])

    async def _stop_named(self, held: asyncio.Future[T]) -> Usage | None:
        try:
            return await self._stop(await asyncio.shield(held))
        except BackendError:
            return None
