"""The port of rented instances.

Whoever looks after an instance (``holder``) has a lease of it by the store's clock, and renews it.
Where that is over, the next one who asks has it: no instance is paid for because its gateway is
gone.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec


class StoredInstance(msgspec.Struct, frozen=True):
    """An instance; the store does not read its ``document``."""

    id: str
    reserve: str
    """Its name in the policy."""
    document: str


class InstanceStore(Protocol):
    """Instances of several gateways. Each method is one transaction, and raises StorageUnavailable:
    nothing was done then, or nobody knows."""

    async def put(self, holder: str, one: StoredInstance, lease_s: float) -> bool:
        """A new one, or how one stands now; False where another holder has it."""
        ...

    async def renew(self, holder: str, lease_s: float) -> set[str]:
        """The leases go on from now: the ids of all that the holder has."""
        ...

    async def take(
        self, holder: str, lease_s: float, reserves: Collection[str], others_after_s: float
    ) -> list[StoredInstance]:
        """Those whose leases are over are the holder's from now on: of these reserves at once, of
        all others where that is so long ago."""
        ...

    async def of_reserve(self, reserve: str) -> list[StoredInstance]:
        """All of it, whoever has them."""
        ...

    async def drop(self, holder: str, id: str) -> None:
        """There is no such instance."""
        ...

    async def leave(self, holder: str) -> None:
        """Whoever asks next has what the holder had."""
        ...
