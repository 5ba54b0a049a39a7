"""Spare workers cost while nobody calls them: paid for in periods, each held before it begins."""

from __future__ import annotations

import logging

from adapters.types import Usage
from gateway.backends.live import LiveBackend
from gateway.policy.model import Policy
from gateway.storage.base import StorageUnavailable
from gateway.warm.account import Expense, WarmAccount

log = logging.getLogger("spillgate")


class SparePeriod:
    """One backend's spares from when its platform is told to keep them until it is told anew. The
    seconds in which they run calls are the callers' to pay."""

    def __init__(self, backend: LiveBackend, workers: int, expense: Expense, now: float) -> None:
        self.backend = backend
        self.expense = expense
        self.idle_s = 0.0
        self._workers = workers
        self._counted = now

    def count(self, now: float) -> None:
        """As many workers were idle since the last count as are idle now."""
        busy = self.backend.calls_in_all - self.backend.queue.waiting_first
        idle = max(0, self._workers - busy)
        self.idle_s += idle * max(0.0, now - self._counted)
        self._counted = now

    @property
    def cost_nano(self) -> int:
        """Nano-dollars so far."""
        return round(self.idle_s * _rate(self.backend))


class Spares:
    """The periods that go on, by backend."""

    def __init__(self, account: WarmAccount) -> None:
        self._account = account
        self._periods: dict[str, SparePeriod] = {}

    def count(self, now: float) -> None:
        """Time goes by; called about once a second."""
        for period in self._periods.values():
            period.count(now)

    async def begin(
        self, policy: Policy, backend: LiveBackend, workers: int, lasts_s: float, now: float
    ) -> bool:
        """Settles the period that went on and begins one of ``lasts_s`` seconds; False where the
        gateway's limits have no room for it, or cannot be asked: then no spare may be kept."""
        await self.end(backend.name, now)
        rate = _rate(backend)
        try:
            expense = await self._account.open(
                policy,
                backend,
                "spare",
                "spare",
                nano=round(rate * workers * lasts_s),
                lasts_s=workers * lasts_s,
            )
        except StorageUnavailable as unavailable:
            log.error("no spare is kept at %s: %s", backend.name, unavailable)
            return False
        if expense is None:
            return False
        self._periods[backend.name] = SparePeriod(backend, workers, expense, now)
        return True

    async def end_all(self, now: float) -> None:
        """Settles every period."""
        for name in tuple(self._periods):
            await self.end(name, now)

    async def end(self, name: str, now: float) -> None:
        """Settles the period of a backend, where one goes on."""
        period = self._periods.pop(name, None)
        if period is None:
            return
        period.count(now)
        used = Usage(exec_s=period.idle_s, gpu_s=period.idle_s)
        try:
            await self._account.settle(
                period.expense, used, outcome="success", error="", nano=period.cost_nano
            )
        except StorageUnavailable as unavailable:
            log.error("the ledger takes no spare of %s: %s", name, unavailable)


def _rate(backend: LiveBackend) -> int:
    """Nano-dollars that a second of an idle worker costs; 0 where its time is not bought by the
    second."""
    price = backend.price
    return 0 if price is None or price.reserved else price.per_second or 0
