"""Workers that somebody else has started, found by their sockets in a folder.

They are not ended here, and nobody says what becomes of them: a socket that is there says that a
worker should be ready, and its connection says the rest.
"""

from __future__ import annotations

import os

from local_runtime.background import TaskSet
from local_runtime.client.discovery import Listener
from local_runtime.client.socket_folder import sockets_in
from local_runtime.clock import Clock
from local_runtime.protocol.events import WorkerChanged
from local_runtime.protocol.scale_events import Retired

LOOK_S = 0.2
"""Seconds between two looks at the folder: one listing of few names, in memory."""


class AttachedWorkers:
    """A ``Discovery`` of the workers whose runtime was given ``--sockets`` with this folder."""

    def __init__(self, folder: str, clock: Clock) -> None:
        self.detail = ""
        self._folder = os.path.abspath(folder)
        self._clock = clock
        self._known: dict[int, str] = {}
        self._tasks = TaskSet()

    def start(self, listener: Listener) -> None:
        self._look(listener)
        self._tasks.start(self._watch(listener))

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _watch(self, listener: Listener) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            self._look(listener)

    def _look(self, listener: Listener) -> None:
        found, before = self._found(), self._known
        self._known = found
        for index in sorted(before.keys() - found.keys()):
            listener(Retired(index))
        for index in sorted(found.keys() - before.keys()):
            listener(WorkerChanged(index, "ready", path=found[index]))

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
