"""Waiting for whoever writes to a store's file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from adapters.waiting import mark_seen
from gateway.storage.base import StorageBusy

Asked = TypeVar("Asked")
_WRITERS = 20


class Writers:
    """Whoever writes, as those see it who wait for that: all of them in one thread, however many
    they are."""

    def __init__(self) -> None:
        self._written: asyncio.Task[None] | None = None

    async def after(self, ask: Callable[[], Asked]) -> Asked:
        """What ``ask`` returns once nobody writes: what was just written may be what is asked for.
        Raises StorageUnavailable where a writer takes too long, or one comes after the other."""
        for _ in range(_WRITERS):
            try:
                return ask()
            except StorageBusy as busy:
                await self._wait(busy)
        return ask()

    async def _wait(self, busy: StorageBusy) -> None:
        if self._written is None or self._written.done():
            self._written = asyncio.create_task(asyncio.to_thread(busy.wait))
            self._written.add_done_callback(mark_seen)
        await asyncio.shield(self._written)
