"""Waiting for what may take too long, or may have been left by whoever waited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from adapters.base import Clock

T = TypeVar("T")

_STUBBORN_S = 1.0


async def before(clock: Clock, deadline: float, work: Awaitable[T]) -> T:
    """What ``work`` gives before an instant of the monotonic clock. Raises TimeoutError, and
    cancels the work, at that instant. Work that does not let itself be cancelled is left behind
    after a moment: whoever waits is not kept by it."""
    task = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(clock.sleep(max(deadline - clock.monotonic(), 0.0)))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()
        timer.cancel()
        task.add_done_callback(mark_seen)
        await asyncio.wait({task, timer}, timeout=_STUBBORN_S)


def mark_seen(future: asyncio.Future[Any]) -> None:
    """Marks a future's error as seen, since nobody may be left to see it: for
    ``add_done_callback``."""
    if not future.cancelled():
        future.exception()
