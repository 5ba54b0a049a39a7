"""What is said of work is written down while that has begun: no slot is idle for the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from adapters.waiting import mark_seen

T = TypeVar("T")


class Meanwhile:
    """What is being written down of one job, which may be nothing."""

    def __init__(self) -> None:
        self._said: asyncio.Future[None] | None = None

    async def during(self, work: Awaitable[T], saying: Coroutine[Any, Any, None]) -> T:
        """What ``work`` gives, or raises, perhaps before it is said."""
        self._said = asyncio.ensure_future(saying)
        return await work

    async def within(
        self,
        limit: AbstractContextManager[None],
        work: Awaitable[T],
        failed: Callable[[Exception], AbstractContextManager[None]],
    ) -> T:
        """What ``work`` gives, within its limit; raises what it does once all is said, which takes
        none of its time, but what has ``failed`` does. Whoever breaks it off waits for neither."""
        try:
            with limit:
                return await work
        except asyncio.CancelledError:
            if self._said is not None:
                self._said.cancel()
                self._said.add_done_callback(mark_seen)
            raise
        except Exception as error:
            with failed(error):
                await self.is_said()
            raise

    async def is_said(self) -> None:
        """Waits for it. Raises what it does."""
        said, self._said = self._said, None
        if said is not None:
            await said
