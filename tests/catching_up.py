"""A fake clock that leaps only when everything real has caught up.

A test's clock stands still between two steps, but threads and sockets have a time of their own: on
a busy machine the ledger's thread may answer when the clock has been moved on already, and whoever
waited for it then begins a step late. So a step ends when no thread works for the running loop and
no socket of it has news.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar, cast

from gateway.clock import FakeClock, settle
from gateway.storage.sqlite.writer import GroupWriter

HELD_UP_S = 0.2
"""Whatever has been under way for so long is held up by the test itself, or is never done."""
_CALM_TURNS = 5


class ThreadWork:
    """What was given to threads and is not done, by when it began."""

    under_way: ClassVar[dict[object, float]] = {}

    @classmethod
    def is_there(cls) -> bool:
        """Whether a thread works on what was given to it a moment ago."""
        if not cls.under_way:
            return False
        since = time.monotonic() - HELD_UP_S
        return any(begun > since for begun in tuple(cls.under_way.values()))

    @classmethod
    def begins(cls, future: Future[Any] | asyncio.Future[Any]) -> None:
        """Counts it until it is done."""
        if not future.done():
            cls.under_way[future] = time.monotonic()
            future.add_done_callback(cls._ends)

    @classmethod
    def _ends(cls, future: object) -> None:
        cls.under_way.pop(future, None)


def watch_threads() -> None:
    """From now on pools of threads and ledgers' writers are counted. To be called once."""
    ThreadPoolExecutor.submit = _counted(ThreadPoolExecutor.submit)  # type: ignore[method-assign]
    GroupWriter.submit = _counted(GroupWriter.submit)  # type: ignore[method-assign]
    FakeClock.settles = staticmethod(caught_up)


def _counted(submit: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        future = submit(*arguments, **named)
        ThreadWork.begins(future)
        return future

    return counted


async def caught_up() -> None:
    """Returns when all that follows from what the clock shows has come about."""
    end = time.monotonic() + 5 * HELD_UP_S
    await settle()
    calm = 0
    while calm < _CALM_TURNS and time.monotonic() < end:
        if ThreadWork.is_there():
            calm = 0
            await asyncio.sleep(0.0002)
        else:
            calm = 0 if _has_news() else calm + 1
            await asyncio.sleep(0)


def _has_news() -> bool:
    """Whether a socket of the running loop, or a thread that answers it, waits to be heard."""
    loop = cast(asyncio.SelectorEventLoop, asyncio.get_running_loop())
    return bool(loop._selector.select(0))  # type: ignore[attr-defined]
