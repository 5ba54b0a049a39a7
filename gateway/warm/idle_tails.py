"""Workers that a platform keeps after a burst, and bills until they are taken down: who waited for
calls that did not come is in rows of the user system:idle.

What is known of it is when workers ended their calls and how long the platform keeps them
(``idle_timeout``): an estimate, which the platform's bill corrects.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.clock import Clock
from gateway.money.committed import IDLE
from gateway.money.pricing import idle_charge
from gateway.storage.base import Ledger, LedgerRow, StorageUnavailable
from gateway.types import MICRO

log = logging.getLogger("spillgate")

_EVERY_S = 60.0
_ROWS_AT_ONCE = 100


class IdleTails:
    """Books the tails of every backend whose price bills idle seconds, but of those whose workers
    are held on purpose: these are the warm pool's."""

    def __init__(
        self,
        *,
        active: Callable[[], ActivePolicy],
        held: Callable[[str], bool],
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        """``held``: whether the platform was told to keep workers of the backend."""
        self._active = active
        self._held = held
        self._ledger = ledger
        self._clock = clock
        self._booked: dict[LiveBackend, float] = {}
        """Worker-seconds that are in rows, or somebody else's."""
        self._unwritten: list[LedgerRow] = []

    async def run(self) -> None:
        """A look a minute, for ever."""
        while True:
            await self._clock.sleep(_EVERY_S)
            await self.book()

    async def book(self) -> None:
        """A row for each backend whose workers have waited since the last."""
        for backend in self._billed():
            now = self._clock.monotonic()
            backend.learned.warm.idle(now)
            await self._book(backend, backend.learned.warm.waited_s)

    async def aclose(self) -> None:
        """Books the waits that go on as long as they will be, since nobody is there to see it."""
        for backend in self._billed():
            await self.leave(backend)

    async def leave(self, backend: LiveBackend) -> None:
        """The same of one that a reload has taken out."""
        if _bills_idle(backend):
            warm = backend.learned.warm
            warm.idle(self._clock.monotonic())
            await self._book(backend, warm.waited_s + warm.give_up())
        self._booked.pop(backend, None)

    def _billed(self) -> Iterable[LiveBackend]:
        return filter(_bills_idle, tuple(self._active().backends.values()))

    async def _book(self, backend: LiveBackend, waited_s: float) -> None:
        idle_us = round((waited_s - self._booked.get(backend, 0.0)) * MICRO)
        if idle_us > 0:
            self._booked[backend] = waited_s
            if not self._held(backend.name):
                self._unwritten.append(self._row(backend, idle_us))
        await self._write()

    async def _write(self) -> None:
        """A row that may have been written is written again by its name, which the ledger takes
        once."""
        rows = tuple(self._unwritten[:_ROWS_AT_ONCE])
        if not rows:
            return
        try:
            await self._ledger.settle(rows)
        except StorageUnavailable as unavailable:
            log.error("idle seconds of %d bursts wait for the ledger: %s", len(rows), unavailable)
            return
        self._unwritten = [row for row in self._unwritten if row not in rows]

    def _row(self, backend: LiveBackend, idle_us: int) -> LedgerRow:
        now_at = self._clock.time()
        nano = idle_charge(backend.price, idle_us)
        return LedgerRow(
            id=f"tail_{os.urandom(12).hex()}",
            kind="idle",
            outcome="success",
            started_at=now_at,
            ended_at=now_at,
            key_id=IDLE,
            user=IDLE,
            model="",
            task="idle",
            backend=backend.name,
            reason="idle_tail",
            policy=self._active().policy.version,
            gpu_us=idle_us,
            cost_nano=nano,
            cost_basis="estimated" if nano else "none",
            price=backend.spec.common.price or "",
        )


def _bills_idle(backend: LiveBackend) -> bool:
    price = backend.price
    return backend.learned.cold is not None and price is not None and "idle" in price.bills
