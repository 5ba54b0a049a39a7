"""Waiting for what has a time of its own, a process or a thread: looked at again and again, with a
bound. Whatever has the test's clock is never waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

WITHIN_S = 60.0


async def until(
    holds: Callable[[], bool | Awaitable[bool]],
    what: str = "it",
    *,
    within_s: float = WITHIN_S,
    every_s: float = 0.01,
) -> None:
    """Returns when it holds. Raises AssertionError past ``within_s``."""
    end = time.monotonic() + within_s
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(every_s)


def wait_until(
    holds: Callable[[], bool],
    what: str = "it",
    *,
    within_s: float = WITHIN_S,
    every_s: float = 0.01,
) -> None:
    """As ``until``, where no loop runs."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)
