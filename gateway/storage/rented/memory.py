"""Rented instances in memory: of a gateway that keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gateway.storage.rented.base import StoredInstance


class MemoryInstances:
    """An ``InstanceStore`` that ends with its process; ``now``: seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._instances: dict[str, StoredInstance] = {}
        self._leases: dict[str, tuple[str, float]] = {}
        """(holder, until when), by the instance's id."""

    @property
    def instances(self) -> list[StoredInstance]:
        """All of them, in the order in which they came."""
        return list(self._instances.values())

    async def put(self, holder: str, one: StoredInstance, lease_s: float) -> bool:
        if self._leases.get(one.id, (holder, 0.0))[0] != holder:
            return False
        self._instances[one.id] = one
        self._leases[one.id] = holder, self._now() + lease_s
        return True

    async def renew(self, holder: str, lease_s: float) -> set[str]:
        held = {id for id, (by, _) in self._leases.items() if by == holder}
        self._leases.update(dict.fromkeys(held, (holder, self._now() + lease_s)))
        return held

    async def take(
        self, holder: str, lease_s: float, reserves: Collection[str], others_after_s: float
    ) -> list[StoredInstance]:
        now = self._now()
        taken = [
            one
            for one in self._instances.values()
            if self._leases[one.id][1] <= (now if one.reserve in reserves else now - others_after_s)
        ]
        self._leases.update({one.id: (holder, now + lease_s) for one in taken})
        return taken

    async def of_reserve(self, reserve: str) -> list[StoredInstance]:
        return [one for one in self._instances.values() if one.reserve == reserve]

    async def drop(self, holder: str, id: str) -> None:
        if self._leases.get(id, ("", 0.0))[0] == holder:
            del self._instances[id], self._leases[id]

    async def leave(self, holder: str) -> None:
        for id, (by, _) in self._leases.items():
            if by == holder:
                self._leases[id] = "", self._now()
