"""Instances that began to run when another gateway had them already: it may have stopped them
before they were there."""

from __future__ import annotations

import logging

from gateway.clock import Clock
from gateway.reserve.asked_hooks import AskedHooks
from gateway.reserve.rented import Rented, read_stored
from gateway.reserve.wanted import pause_s
from gateway.storage.base import StorageUnavailable
from gateway.storage.rented.base import InstanceStore
from gateway.tasks import BackgroundTasks

log = logging.getLogger("spillgate")


class Strays:
    """Of the process that has started them: it stops them, and books nothing of them."""

    def __init__(self, store: InstanceStore, hooks: AskedHooks, clock: Clock) -> None:
        self._store = store
        self._hooks = hooks
        self._clock = clock
        self._tasks = BackgroundTasks()
        self.left: dict[str, Rented] = {}
        """By their ids: not known to be stopped."""

    def add(self, one: Rented) -> None:
        """It is stopped, however often that has to be asked."""
        self.left[one.id] = one
        self._tasks.run(self._stop(one))

    async def _stop(self, one: Rented) -> None:
        tries = 0
        while not await self.is_stopped(one):
            tries += 1
            text = "instance %s, which was lost in its start, is not known to be stopped (%d tries)"
            log.error(text, one.id, tries)
            await self._clock.sleep(pause_s(tries))

    async def is_stopped(self, one: Rented) -> bool:
        """Asks for it, unless whoever has it knows by now that it runs."""
        if not await self._is_known_to_run(one) and not (await self._hooks.stop(one)).done:
            return False
        self.left.pop(one.id, None)
        return True

    async def _is_known_to_run(self, one: Rented) -> bool:
        try:
            stored = await self._store.of_reserve(one.reserve)
        except StorageUnavailable:
            return False
        return any(each.id == one.id and read_stored(each).state == "up" for each in stored)

    async def drain(self) -> None:
        """Waits until none is left."""
        await self._tasks.drain()

    async def cancel(self) -> None:
        """None is asked for any more."""
        await self._tasks.cancel()
