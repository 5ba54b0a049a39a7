"""Tasks that go on beside whoever started them, and end with him."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class TaskSet:
    """Holds tasks until they have ended: the loop itself keeps only weak references to them
    (https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task)."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Runs ``work`` from the next turn of the loop on; once closed, not at all."""
        if self._closed:
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self, within_s: float) -> None:
        """Waits until all have ended, for so many seconds at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def aclose(self) -> None:
        """Cancels all, and waits for their ends; what one of them would start then is not begun."""
        self._closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
