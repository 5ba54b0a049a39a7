"""What is asked besides of a shared store that is on another machine: it may be lost for a while,
and what was done meanwhile is told to it when it is back."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from gateway.storage.base import Claim, SharedStore, StorageUnavailable
from gateway.types import Unit


class StorageLost(StorageUnavailable):
    """A shared store did not answer in time, was not reached, or serves nobody at the moment. What
    was asked may be done all the same."""


class Settled(NamedTuple):
    """A hold that ended, as ``settle`` is told it."""

    hold_id: str
    claims: tuple[Claim, ...]
    actual: dict[Unit, int]


class Held(NamedTuple):
    """A hold that lives on, as ``reinstate`` is told it; ``ttl_us``: microseconds from now."""

    hold_id: str
    claims: tuple[Claim, ...]
    ttl_us: int


class CatchUp(msgspec.Struct, frozen=True, kw_only=True):
    """What happened while the store could not be asked. Told again with the same ``id``, it changes
    nothing.

    ``spent``     claims whose ``take`` was spent by calls that the store never held, each with an
                  instant of its window (microseconds since the epoch).
    ``settled``   ends of holds that the store has, or may have; one that it has forgotten is spent.
    ``released``  ids of holds that ended as if they had not been.
    ``held``      holds that live on; one that the store knows stays as it is.
    ``extended``  (hold, unit, more), where there is room for it.
    """

    id: str
    spent: tuple[tuple[Claim, int], ...] = ()
    settled: tuple[Settled, ...] = ()
    released: tuple[str, ...] = ()
    held: tuple[Held, ...] = ()
    extended: tuple[tuple[str, Unit, int], ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing has happened."""
        return not (self.spent or self.settled or self.released or self.held or self.extended)


class Alive(NamedTuple):
    """What a store answers to a sign of life."""

    gateways: int
    """Those that have given one lately, whoever asks among them."""
    past_nano: int = 0
    """Nano-dollars of what it was told that lie past a limit of money."""


class RemoteStore(SharedStore, Protocol):
    """A ``SharedStore`` whose methods raise StorageLost where it cannot be asked."""

    async def beat(self) -> Alive:
        """A sign of life of this gateway; finds out, as ``ping``, whether the store has lost its
        memory."""
        ...

    async def catch_up(self, missed: CatchUp) -> Alive:
        """Adds all of it in one step, once, and is a sign of life."""
        ...

    async def leave(self) -> None:
        """This gateway ends: it is not alive any more."""
        ...
