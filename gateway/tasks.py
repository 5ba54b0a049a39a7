"""Tasks of the event loop: work that may outlive the one that began it, and a cancellation that is
taken back; and threads beside it, which calls must not wait for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

log = logging.getLogger("spillgate")

T = TypeVar("T")


class BackgroundTasks:
    """Keeps hold of tasks until they end: the loop itself does not. What one fails of is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begins ``work``, for which nobody has to wait."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    async def shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns, which goes on when the waiting is cancelled. Raises what ``work``
        raises."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a background task failed", exc_info=task.exception())

    async def drain(self) -> None:
        """Waits until none is left, and for those that they begin."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """Cancels all, and waits for their ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def take_back_cancellation() -> None:
    """The running task was cancelled for a reason of our own, which has been seen to: it goes on.
    Without this, ``asyncio.timeout`` around it would take the cancellation for one of its own."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def yield_to_others() -> None:
    """Lowers the priority of the thread that calls it, which Linux has for each by itself."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
