"""What one process alone does for all that serve together: the warm pool, what platforms keep after
calls, committed hours and bills.

A process that hands over leaves what was set at platforms as it is: whoever leads next finds it
written down, tells them again and goes on. The last one takes it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.bills.kept_bills import FILE, KeptBills
from gateway.bills.watch import BillWatch
from gateway.metrics import Reading
from gateway.money.idle_books import IdleBooks
from gateway.planning.coming import ComingCalls, JobsInLine
from gateway.policy.sections.commitments import Commitment
from gateway.policy.sections.reserve import Reserve
from gateway.reserve.advised import advised_by
from gateway.reserve.earlier_file import FILE as RENTED
from gateway.reserve.earlier_file import EarlierFile
from gateway.reserve.hooks import RealHooks
from gateway.reserve.keeper import ReserveKeeper
from gateway.service import Gateway
from gateway.storage.rented.base import InstanceStore
from gateway.storage.rented.memory import MemoryInstances
from gateway.tasks import BackgroundTasks
from gateway.together import Leadership
from gateway.warm.account import WarmAccount
from gateway.warm.idle_tails import IdleTails
from gateway.warm.jobs_in_line import JobLine
from gateway.warm.keeper import WarmKeeper
from gateway.warm.lead import Lead
from gateway.warm.minimums import WorkerMinimums
from gateway.warm.pings import Pings
from gateway.warm.plans import WorkerPlans


class LeaderWork:
    """Of one process: done while it leads."""

    def __init__(self, gateway: Gateway, leadership: Leadership) -> None:
        self._gateway = gateway
        self._leadership = leadership
        self._account = WarmAccount(
            shared=gateway.shared,
            ledger=gateway.ledger,
            settler=gateway.settler,
            clock=gateway.clock,
        )
        gateway.holders.append(self._account.reinstate)
        self._pings = gateway.pings = Pings(
            active=lambda: gateway.active, account=self._account, metrics=gateway.metrics
        )
        self._past_days = _PastDays(gateway, self._rented)
        self._instances = gateway.rented or MemoryInstances(gateway.clock.time)
        self._term: _Term | None = None
        self._ended: list[_Term] = []
        self._changing = asyncio.Lock()
        self._tasks = BackgroundTasks()
        self.tails = IdleTails(
            active=lambda: gateway.active,
            held=self._is_held,
            ledger=gateway.ledger,
            clock=gateway.clock,
            leadership=leadership,
        )
        gateway.metrics.observe(self._readings)
        leadership.watch(self.tails.hear, self._hear_kept)
        gateway.replaced = self._replaced

    def start(self) -> None:
        """From now on, beside the calls, until ``aclose``."""
        if self._leadership.until > self._gateway.clock.monotonic():
            self._begin()
        self._tasks.run(self.tails.run())
        self._tasks.run(self._run())

    async def _run(self) -> None:
        while True:
            await self._leadership.gained()
            if self._term is None:
                self._begin()
            await self._leadership.lost()
            async with self._changing:
                await self._hand_over()
                self._leadership.leave()

    def _begin(self) -> None:
        self._term = term = _Term(self._gateway, self._account, self._leadership, self._instances)
        term.tasks.run(term.keeper.run())
        term.tasks.run(self._go_on(term))

    async def _go_on(self, term: _Term) -> None:
        """What was rented before is known when its hours are booked."""
        await term.reserve.recall()
        term.tasks.run(term.reserve.run())
        for work in self._past_days.work():
            term.tasks.run(work)

    def _leads(self) -> bool:
        return self._leadership.until > self._gateway.clock.monotonic()

    async def _hand_over(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            self._ended.append(term)
            await term.tasks.cancel()
            await self.tails.book()
            await term.reserve.hand_over()
            await term.keeper.hand_over(self._leadership.until)

    async def aclose(self) -> None:
        """This process ends. Where it leads, so do all: what was set at platforms is taken back."""
        async with self._changing:
            await self._tasks.cancel()
            await self._pings.aclose()
            term, self._term = self._term, None
            for ended in self._ended:
                await ended.keeper.break_off()
            if term is not None:
                await term.tasks.cancel()
                await asyncio.gather(term.reserve.aclose(), term.keeper.aclose())
                await self.tails.aclose()
            self._leadership.leave()

    def _readings(self) -> Iterator[Reading]:
        text = "1: this process does what one alone does for all"
        yield "spillgate_leads", text, {}, float(self._leads())
        if self._term is not None:
            yield from self._term.reserve.readings()

    def _rented(self) -> Mapping[str, Commitment] | None:
        return None if self._term is None else self._term.reserve.commitments()

    def _hear_kept(self, name: str, workers: int) -> None:
        backend = self._gateway.active.backends.get(name)
        if backend is not None:
            backend.workers.held.tell(workers, self._gateway.clock.monotonic())

    def _is_held(self, backend: str) -> bool:
        return self._term is not None and backend in self._term.minimums.kept()

    async def _replaced(self, old: LiveBackend, new: LiveBackend | None) -> None:
        if self._term is not None:
            await self._term.keeper.replaced(old, new)
        elif new is not None and new.spec.settings == old.spec.settings:
            new.workers.held = old.workers.held
        await self.tails.leave(old)


class _Term:
    """From when a process leads until it does not: what was set at platforms is read anew."""

    def __init__(
        self,
        gateway: Gateway,
        account: WarmAccount,
        leadership: Leadership,
        instances: InstanceStore,
    ) -> None:
        self.tasks = BackgroundTasks()
        self.minimums = WorkerMinimums(
            kept=gateway.kept_workers, clock=gateway.clock, told=leadership.tell_of_kept
        )
        self.keeper = WarmKeeper(
            active=lambda: gateway.active,
            account=account,
            minimums=self.minimums,
            clock=gateway.clock,
            metrics=gateway.metrics,
            leads=lambda: leadership.until > gateway.clock.monotonic(),
            plans=self._plans_of(gateway),
        )
        self.reserve = ReserveKeeper(
            active=lambda: gateway.active,
            advised=self._advised,
            leads=lambda: leadership.until > gateway.clock.monotonic() and self._plans.lead.leads,
            store=instances,
            earlier=EarlierFile(Path(gateway.active.policy.server.data) / RENTED),
            hooks=RealHooks(),
            shared=gateway.shared,
            clock=gateway.clock,
        )

    def _advised(self, active: ActivePolicy, rule: Reserve) -> int:
        plan = self._plans.last(rule.plan)
        return 0 if plan is None else advised_by(active, plan, rule)

    def _plans_of(self, gateway: Gateway) -> WorkerPlans:
        plans = gateway.plans = self._plans = WorkerPlans(
            active=lambda: gateway.active,
            calls=gateway.dispatcher.admitting.held,
            lead=Lead(gateway.shared, gateway.clock),
            clock=gateway.clock,
            coming=lambda within_s: _scheduled(gateway, within_s),
            jobs=_jobs_in_line(gateway, self.tasks),
        )
        gateway.dispatcher.entering.begun = plans.begun
        return plans


def _scheduled(gateway: Gateway, within_s: float) -> Sequence[ComingCalls]:
    return () if gateway.schedules is None else gateway.schedules.ahead.within(within_s)


def _jobs_in_line(gateway: Gateway, tasks: BackgroundTasks) -> Callable[[], Sequence[JobsInLine]]:
    jobs = gateway.jobs
    if jobs is None:
        return tuple
    return JobLine(jobs.store, jobs.worker.full_now, gateway.clock, tasks).waiting


class _PastDays:
    """What goes over hours and days that have ended: what nobody used, and bills. Of one process,
    for whichever leads."""

    def __init__(
        self, gateway: Gateway, rented: Callable[[], Mapping[str, Commitment] | None]
    ) -> None:
        self._idle_books = IdleBooks(
            policy=lambda: gateway.active.policy,
            ledger=gateway.ledger,
            clock=gateway.clock,
            rented=rented,
        )
        self._bill_watch = BillWatch(
            policy=lambda: gateway.active.policy,
            backends=lambda: {n: one.adapter for n, one in gateway.active.backends.items()},
            ledger=gateway.ledger,
            kept=KeptBills(Path(gateway.active.policy.server.data) / FILE),
            clock=gateway.clock,
        )
        gateway.metrics.observe(self._bill_watch.readings)

    def work(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """All of it, each for ever."""
        return self._idle_books.run(), self._bill_watch.run()
