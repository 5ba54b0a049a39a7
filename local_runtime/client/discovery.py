"""Who knows which workers there are: the port at which ``workers.Workers`` stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from local_runtime.protocol.events import WorkerChanged
from local_runtime.protocol.scale_events import Retired


class Restarted(msgspec.Struct, frozen=True):
    """What was told of workers until now holds no more."""


Told = WorkerChanged | Retired | Restarted


class Discovery(Protocol):
    """``supervised.Supervised`` starts workers, ``watched.Watched`` finds those of others."""

    @property
    def detail(self) -> str:
        """Why it knows of no workers, in one line; empty where their states say it all."""
        ...

    def start(self, hear: Callable[[Told], None]) -> None:
        """Tells ``hear`` of every worker, and of each change, from now on until it is closed."""
        ...

    async def aclose(self) -> None:
        """Ends the workers, if it has started them, and tells of nothing any more."""
        ...
