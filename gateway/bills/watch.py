"""Compares bills and ledger while the gateway runs: gauges, a warning, and corrections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

from adapters.base import Backend, Billed
from adapters.errors import BackendError
from adapters.types import Bill
from gateway.bills.booking import book
from gateway.bills.comparison import Comparison
from gateway.bills.kept_bills import PLATFORM, KeptBill, KeptBills
from gateway.bills.periods import DAY, Period, period_of
from gateway.bills.reconciler import Unpriced, asked, compare
from gateway.clock import Clock
from gateway.metrics import Reading
from gateway.money.text import usd
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.sections.reconcile import Reconcile
from gateway.storage.base import Ledger, StorageUnavailable
from gateway.types import NANO

log = logging.getLogger("spillgate")

_FIRST_S = 300.0
"""After a start, until bills are first asked for: one that restarts again and again asks none."""


class BillWatch:
    """Asks the bills of the policy in force, as often as it says; none where it says nothing."""

    def __init__(
        self,
        *,
        policy: Callable[[], Policy],
        backends: Callable[[], Mapping[str, Backend]],
        ledger: Ledger,
        kept: KeptBills,
        clock: Clock,
    ) -> None:
        """Whatever it is told is ``kept`` for those who look later."""
        self._policy = policy
        self._backends = backends
        self._ledger = ledger
        self._kept = kept
        self._clock = clock
        self._found: dict[str, Comparison] = {}

    async def run(self) -> None:
        """Looks again and again, for ever."""
        await self._clock.sleep(_FIRST_S)
        asked_at = float("-inf")
        while True:
            rule = self._policy().reconcile
            if rule is not None and self._clock.monotonic() >= asked_at + rule.every:
                asked_at = self._clock.monotonic()
                await self.look()
            await self._clock.sleep(_FIRST_S)

    async def look(self) -> None:
        """Compares every backend's bill once; what cannot be had is logged."""
        policy = self._policy()
        rule = policy.reconcile
        if rule is None:
            return
        now = self._clock.time()
        period = period_of(now - rule.days * DAY, now, now, days=True)
        bills = {name: one for name, one in self._backends().items() if isinstance(one, Billed)}
        self._found = {name: one for name, one in self._found.items() if name in bills}
        for name, backend in bills.items():
            spec = policy.backends.get(name)
            if spec is not None:
                await self._look_at(policy, rule, spec, backend, period)

    def readings(self) -> Iterator[Reading]:
        """Gauges of the last comparison of each backend."""
        for name, found in self._found.items():
            label = {"backend": name}
            text = "US dollars that the platform billed for the days compared last"
            yield "spillgate_bill_usd", text, label, found.billed / NANO
            text = "US dollars of that bill that no row of the ledger has"
            yield "spillgate_bill_difference_usd", text, label, found.open / NANO

    async def _look_at(
        self, policy: Policy, rule: Reconcile, spec: BackendSpec, one: Billed, period: Period
    ) -> None:
        """Corrections before the page: what is kept for that never holds them up."""
        try:
            bill = await asked(one, period)
        except BackendError as error:
            log.warning("%s: no bill could be compared: %s", spec.name, error)
            return
        found = None
        try:
            found = await self._compared(policy, rule, spec, bill, period)
        except (Unpriced, StorageUnavailable) as error:
            log.warning("%s: no bill could be compared: %s", spec.name, error)
        await self._keep(spec.name, bill)
        if found is not None:
            self._found[spec.name] = found

    async def _compared(
        self, policy: Policy, rule: Reconcile, spec: BackendSpec, bill: Bill, period: Period
    ) -> Comparison:
        name = spec.name
        found = await compare(policy, spec, bill, period, self._ledger)
        if found.exceeds(rule.threshold):
            log.warning(
                "%s: billed %s USD for %s, of which %s USD are in no row; "
                "spillgate usage --reconcile %s says why",
                *(name, usd(found.billed), found.period, usd(found.open), name),
            )
        if not rule.book:
            return found
        now = self._clock.time()
        booked = await book(found, self._ledger, now_at=now, version=policy.version)
        if not booked:
            return found
        log.info("%s: %d corrections are booked for %s", name, booked, found.period)
        return await compare(policy, spec, bill, period, self._ledger)

    async def _keep(self, name: str, bill: Bill) -> None:
        told = KeptBill(bill=bill, source=PLATFORM, at=self._clock.time())
        try:
            await asyncio.to_thread(self._kept.put, name, told)
        except StorageUnavailable as error:
            log.warning("%s: its bill is not kept for the console: %s", name, error)
