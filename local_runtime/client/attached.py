"""Workers that somebody else has started, found by their sockets in a folder.

They are not ended here, and what becomes of them is not told: a socket that is there says that a
worker should be ready, and its connection says the rest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from local_runtime.client.discovery import Told
from local_runtime.client.socket_folder import sockets_in
from local_runtime.clock import Clock
from local_runtime.protocol.events import WorkerChanged
from local_runtime.protocol.scale_events import Retired

LOOK_S = 0.2
"""Between two looks at the folder: one listing of few names, in memory."""


class AttachedWorkers:
    """A ``roster.Roster`` of the workers whose runtime was given ``--sockets`` with this folder."""

    def __init__(self, folder: str, clock: Clock) -> None:
        self.detail = ""
        self._folder = os.path.abspath(folder)
        self._clock = clock
        self._told: dict[int, str] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, hear: Callable[[Told], None]) -> None:
        self._look(hear)
        self._task = asyncio.create_task(self._watch(hear))

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self, hear: Callable[[Told], None]) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            self._look(hear)

    def _look(self, hear: Callable[[Told], None]) -> None:
        found, before = self._found(), self._told
        self._told = found
        for index in sorted(before.keys() - found.keys()):
            hear(Retired(index))
        for index in sorted(found.keys() - before.keys()):
            hear(WorkerChanged(index, "ready", path=found[index]))

    def _found(self) -> dict[int, str]:
        """The workers that are there. Those of a folder that is not trusted are not."""
        found: dict[int, str] = {}
        try:
            found = sockets_in(self._folder)
        except FileNotFoundError:
            made = "python -m local_runtime APP --sockets makes it"
            self.detail = f"there is no folder {self._folder}: {made}"
        except OSError as error:
            self.detail = str(error)
        else:
            self.detail = "" if found else f"no worker is ready in {self._folder}"
        return found
