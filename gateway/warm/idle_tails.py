"""Workers that a platform keeps after a burst, and bills until they are taken down: that they
waited for calls that did not come is in rows of the user system:idle, or of whom the backend's
``idle_paid_by`` says.

What is known of it is when workers ended their calls and how long the platform keeps them
(``idle_timeout``): an estimate, which the platform's bill corrects.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.clock import Clock
from gateway.money.committed import IDLE, split
from gateway.money.pricing import idle_charge
from gateway.storage.base import Ledger, LedgerRow, StorageUnavailable
from gateway.together import Leadership
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
        leadership: Leadership,
    ) -> None:
        """``held``: whether the platform was told to keep workers of the backend."""
        self._leadership = leadership
        self._active = active
        self._held = held
        self._ledger = ledger
        self._clock = clock
        self._users: dict[LiveBackend, dict[str, float]] = {}
        """Seconds of calls of the last users, where these pay."""
        self._numbers: Counter[str] = Counter()
        """Rows of each backend so far, by whichever process they were booked: a row that is booked
        twice has the same name."""
        self._unwritten: list[LedgerRow] = []

    async def run(self) -> None:
        """A look a minute, for ever."""
        while True:
            await self._clock.sleep(_EVERY_S)
            await self.book()

    async def book(self) -> None:
        """Rows for each backend whose workers have waited since the last; where another process
        leads, they are that one's to write."""
        if self._leads():
            for backend in self._billed():
                await self._book(backend)

    def hear(self, name: str, number: int) -> None:
        """Another process has booked the tails of a backend up to now."""
        self._numbers[name] = number
        for backend in self._billed():
            if backend.name == name:
                self._waits(backend)

    async def aclose(self) -> None:
        """Books the waits that go on as long as they will be, since nobody is there to see it."""
        for backend in self._billed():
            await self.leave(backend)

    async def leave(self, backend: LiveBackend) -> None:
        """The same of one that a reload has taken out."""
        if _bills_idle(backend) and self._leads():
            backend.learned.warm.idle(self._clock.monotonic())
            backend.learned.warm.give_up()
            await self._book(backend)
        self._users.pop(backend, None)

    def _leads(self) -> bool:
        return self._leadership.until > self._clock.monotonic()

    def _waits(self, backend: LiveBackend) -> dict[str, float]:
        """Those that are in no row yet, from now on somebody's."""
        backend.learned.warm.idle(self._clock.monotonic())
        return backend.learned.warm.take_waits()

    def _billed(self) -> Iterable[LiveBackend]:
        return filter(_bills_idle, tuple(self._active().backends.values()))

    async def _book(self, backend: LiveBackend) -> None:
        waits = self._waits(backend)
        idle_us = round(sum(waits.values()) * MICRO)
        payers = self._payers(backend, waits)
        if idle_us > 0 and not self._held(backend.name):
            self._unwritten += self._rows(backend, idle_us, payers)
        await self._write()
        if not self._unwritten:
            self._leadership.tell_of_tails(backend.name, self._numbers[backend.name])

    def _payers(self, backend: LiveBackend, waits: Mapping[str, float]) -> dict[str, Fraction]:
        """User -> part of what is paid. A wait that no call caused is overhead, and so is one after
        calls of whom nobody here knows."""
        rule, used = backend.spec.common.idle_paid_by, backend.learned.used
        if rule == "overhead":
            return {IDLE: Fraction(1)}
        if used:
            self._users[backend] = dict(used)
            used.clear()
        weights = waits if rule == "to_cause" else self._users.get(backend, {})
        found = {user or IDLE: Fraction(seconds) for user, seconds in weights.items() if seconds}
        return found or {IDLE: Fraction(1)}

    def _rows(
        self, backend: LiveBackend, idle_us: int, payers: Mapping[str, Fraction]
    ) -> Iterator[LedgerRow]:
        """Whatever the parts are, they make the whole."""
        nano = split(idle_charge(backend.price, idle_us), payers)
        for user, us in split(idle_us, payers).items():
            if us or nano[user]:
                yield self._row(backend, user, us, nano[user])

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

    def _row(self, backend: LiveBackend, user: str, idle_us: int, nano: int) -> LedgerRow:
        now_at, number = self._clock.time(), self._numbers[backend.name]
        self._numbers[backend.name] = number + 1
        return LedgerRow(
            id=f"tail_{self._leadership.machine}_{backend.name}_{number}",
            kind="idle",
            outcome="success",
            started_at=now_at,
            ended_at=now_at,
            key_id=IDLE,
            user=user,
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
