"""Room for instances: below the most and below what is wanted, over all gateways."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.clock import Clock
from gateway.reserve.rented import Rented, read_stored
from gateway.storage.base import Admitted, Claim, SharedStore, StorageUnavailable
from gateway.storage.rented.base import InstanceStore

_HELD_S = 7200.0
"""For so long an instance counts among ``most`` in the store that gateways share after the death of
the gateway that started it."""
_RENEWED_S = 600.0


class Places:
    """Of one process. The ledger's store says what there is, whoever looks after it; in the store
    that gateways share, two that start at once have one place."""

    def __init__(self, store: InstanceStore, shared: SharedStore, clock: Clock) -> None:
        self._store = store
        self._shared = shared
        self._clock = clock
        self._held_at: dict[str, float] = {}

    async def take(self, one: Rented, most: int, wanted: int, ours: Mapping[str, Rented]) -> bool:
        """Whether there is room for it. Raises StorageUnavailable: nobody knows."""
        stored = map(read_stored, await self._store.of_reserve(one.reserve))
        known = {each.id: each for each in (*stored, *ours.values()) if each.reserve == one.reserve}
        there = [each for each in known.values() if each.state != "ended"]
        if len(there) >= most or sum(each.runs for each in there) >= wanted:
            return False
        answer = await self._shared.admit(one.booked_as, _claims(one, most), _HELD_S)
        if not isinstance(answer, Admitted):
            return False
        self._held_at[one.id] = self._clock.monotonic()
        return True

    async def hold(self, ours: Mapping[str, Rented]) -> None:
        """They go on to count in the store that gateways share."""
        now = self._clock.monotonic()
        for id in [*ours]:
            one = ours.get(id)
            if one is None or one.state == "ended":
                continue
            held_at = self._held_at.get(id)
            if held_at is not None and now - held_at < _RENEWED_S:
                continue
            self._held_at[id] = now
            try:
                await self._shared.reinstate(one.booked_as, _claims(one, 1), _HELD_S)
            except StorageUnavailable:
                return

    def leave(self, id: str) -> None:
        """Another gateway holds it."""
        self._held_at.pop(id, None)

    async def free(self, one: Rented) -> None:
        """It counts no more."""
        self._held_at.pop(one.id, None)
        try:
            await self._shared.release(one.booked_as)
        except StorageUnavailable:
            return  # it expires


def _claims(one: Rented, most: int) -> tuple[Claim, ...]:
    return (Claim(f"reserve:{one.reserve}", "concurrent", "", most, 1),)
