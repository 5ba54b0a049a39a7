"""Who knows which workers there are: the port at which ``workers.Workers`` stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from local_runtime.protocol.events import WorkerChanged
from local_runtime.protocol.scale_events import Retired


class Restarted(msgspec.Struct, frozen=True):
    """What was found until now is true no more: all begins again."""


DiscoveryEvent = WorkerChanged | Retired | Restarted

Listener = Callable[[DiscoveryEvent], None]


class Discovery(Protocol):
    """``ManagedWorkers`` starts workers, ``AttachedWorkers`` finds those of others."""

    @property
    def detail(self) -> str:
        """Why it knows of no workers, in one line; empty where their states say it all."""
        ...

    def start(self, listener: Listener) -> None:
        """Calls ``listener`` with every worker, and with each change, until it is closed."""
        ...

    async def aclose(self) -> None:
        """Ends the workers, if it has started them, and calls the listener no more."""
        ...
