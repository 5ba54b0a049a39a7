"""The backends of a policy as they stand: what each one is doing, and what was learned of it.

One event loop owns them; nothing here awaits except a lease that must queue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapters.base import (
    Backend,
    Cancellable,
    Clock,
    LoadsModels,
    ReportsRoundTrip,
    Scalable,
    ScalesItself,
    Warmable,
)
from adapters.errors import BackendError
from adapters.types import Call, Probe, Usage
from gateway.backends.concurrency import Concurrency
from gateway.backends.current_price import CurrentPrice
from gateway.backends.engine_line import EngineLine
from gateway.backends.learned import Learned
from gateway.backends.leases import Lease, Leases
from gateway.backends.outages import Outage
from gateway.backends.platform_workers import PlatformWorkers
from gateway.backends.redaction import Redactor
from gateway.backends.rests import OURSELVES, Caller, LeftAlone, Rests
from gateway.backends.shared_bound import MakeBound
from gateway.backends.slots import ANYWHERE, Reconsider, Replaced
from gateway.backends.standing import Standing
from gateway.planning.line import LINES, Place
from gateway.policy.model import BackendSpec
from gateway.policy.sections.price import DatedPrices, Price
from gateway.routing.health import Failed
from gateway.shared_timer import SharedTimer

RECONSIDER_EVERY_S = 0.25
"""Calls in line are asked so often whether they would rather go elsewhere."""
NEAR_S = 0.005
"""A shorter way is none: it is as long as a busy machine's own delays."""


class LiveBackend:
    """One backend: its adapter, its work in flight, its health, and what was learned."""

    def __init__(
        self,
        spec: BackendSpec,
        prices: DatedPrices | None,
        adapter: Backend,
        clock: Clock,
        timer: SharedTimer,
        draw: Callable[[], float] = lambda: 0.0,
        bound: MakeBound | None = None,
    ) -> None:
        """``draw`` gives a number in [0, 1), by which rests are made uneven; ``bound`` makes this
        process's part of a bound on the calls, where several share it."""
        self.spec = spec
        self.name = spec.name
        self.charged = CurrentPrice(prices, spec.common, clock)
        self.adapter = adapter
        self.cancellable = adapter if isinstance(adapter, Cancellable) else None
        self.warmable = adapter if isinstance(adapter, Warmable) else None
        self.scalable = adapter if isinstance(adapter, Scalable) else None
        self._reports_round_trip = adapter if isinstance(adapter, ReportsRoundTrip) else None
        self.round_trip_s = 0.0
        """To it and back, as it was at the last probe, where that is worth a thought."""
        self.loadable = adapter.loadable if isinstance(adapter, LoadsModels) else ()
        self.redactor = Redactor(spec.settings)
        self.learned = Learned(spec.common)
        self.line = EngineLine()
        self.successor: LiveBackend | None = None
        """The one that a reload has put in its place: what was sent here ends here."""
        self.rests = Rests(draw)
        outage = Outage(spec.common.return_after) if spec.common.region else None
        self.standing = Standing(adapter, self.learned, self.rests, outage)
        self.in_flight = 0
        """Calls that hold a lease or wait for one."""
        self.last_end = clock.monotonic()
        """When it last ended a call or a ping."""
        self.last_call: float | None = None
        self._clock, self._timer = clock, timer
        self.concurrency = Concurrency(spec, adapter, self.learned, self.line, clock)
        self.concurrency.share(bound)
        self.queue = self.concurrency.queue
        self.leases = Leases()
        self._answered: dict[int, bool] = {}  # leases without work: whether their places are kept
        self.workers = PlatformWorkers(self.learned, self.leases, self.queue)
        if self.learned.cold is not None and self.scalable is not None:
            self.concurrency.ready = self.workers.ready_slots
        self._reconsider_at = 0.0
        if isinstance(adapter, ScalesItself):
            adapter.watch(self._demand)

    def _demand(self) -> int:
        """Calls for which it should have workers: those in line have somebody who starts them,
        where workers are started ahead."""
        return self.queue.running if self.workers.started_ahead else self.in_flight

    @property
    def draining(self) -> bool:
        """It is sent no more calls; those that wait in its line alone still are."""
        return self.standing.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self.standing.draining = draining
        if draining:
            self.queue.dismiss(Replaced())

    # --- what the router sees -----------------------------------------------------------------

    @property
    def slots(self) -> int | None:
        """Calls it runs at once: what the adapter says, no more than the policy allows."""
        return self.concurrency.slots()

    @property
    def calls_in_all(self) -> int:
        """Of all processes."""
        return self.in_flight + self.leases.share.others

    @property
    def max_request(self) -> int | None:
        """Bytes of the largest body that it takes: the policy's figure, else the platform's."""
        own = self.adapter.capabilities.max_request_bytes
        return own if self.spec.common.max_request is None else self.spec.common.max_request

    @property
    def context(self) -> int | None:
        """Tokens that the model takes here, where the policy says so."""
        return self.spec.common.context

    @property
    def is_warm(self) -> bool:
        """A call sent now would find a warm worker, as far as is known."""
        if self.adapter.slots == 0 or self.standing.says_not_ready:
            return False
        return self.workers.idle(self._clock.monotonic()) != 0

    @property
    def warm_idle(self) -> int | None:
        """Workers that are warm and idle; None of a backend that is always warm."""
        idle = self.workers.idle(self._clock.monotonic())
        return idle if idle is None or self.is_warm else 0

    @property
    def price(self) -> Price | None:
        """What is charged for a call that is sent now."""
        return self.charged.price

    @property
    def billed_start_s(self) -> float:
        """The seconds just before a call runs that may be a start, where a start is billed."""
        cold = self.learned.cold
        if cold is None or self.price is None or "start" not in self.price.bills:
            return 0.0
        return cold.p95

    def asked_again_in(self, model: str, user: str, now: float) -> float | None:
        """Seconds until a call may be sent there, as far as is known; None where nobody can say."""
        if self.draining:
            return None
        resting = self.rests.health.resting(model, user, now)
        if resting is not None:
            return resting.until - now
        if self.concurrency.is_full(self.in_flight):
            return self.learned.run_time(model).mean / max(self.slots or 1, 1)
        return self.standing.ready_in() if self.adapter.slots == 0 else None

    # --- reloads ---

    def replace_by(self, successor: LiveBackend | None) -> None:
        """A reload put another in its place, or nothing: calls in line go there where it can."""
        self.successor = successor
        if self.newest() is not self:
            self.queue.dismiss(Replaced())

    def newest(self) -> LiveBackend:
        """The one to which a call goes that was routed here and is not sent yet: the last that was
        put in this one's place, if that takes calls and charges the same; else this one."""
        newest = self.successor
        if newest is None:
            return self
        while newest.successor is not None:
            newest = newest.successor
        usable = newest.charged == self.charged and newest.adapter.slots != 0
        return newest if usable and not newest.standing.blocked(self._clock.monotonic()) else self

    # --- leases -------------------------------------------------------------------------------

    async def lease(
        self,
        reconsider: Reconsider | None = None,
        *,
        ping: bool = False,
        load_s: float = 0.0,
        place: Place = ANYWHERE,
        caller: Caller = OURSELVES,
    ) -> Lease:
        """The same of this backend alone."""
        _, lease = await self.first_lease(
            (), reconsider, ping=ping, load_s=load_s, place=place, caller=caller
        )
        return lease

    async def first_lease(
        self,
        others: Sequence[LiveBackend],
        reconsider: Reconsider | None,
        *,
        ping: bool = False,
        load_s: float = 0.0,
        place: Place = ANYWHERE,
        since: float | None = None,
        caller: Caller = OURSELVES,
    ) -> tuple[LiveBackend, Lease]:
        """Waits in line where no more calls may be sent there now, and takes whatever is free
        first, here or at one of the ``others``; ``reconsider`` may call it away, and what it gave
        is raised then. Raises LeftAlone as ``Rests.enter`` does, and Replaced where it is to wait
        anew. ``since``: from when on the call has waited, where that is not now.

        Pings keep it warm but say nothing of when callers come, nor ``load_s``, the seconds that
        the call should wait for its model there, of how long calls run.
        """
        now, at = self._clock.monotonic(), self
        if not ping:
            self.note_call(now)
        self.in_flight += 1
        queue, is_line = self.queue, place.rank == LINES
        if not (queue.take_for_line(place) if is_line else queue.take()):
            at = await self._wait(others, reconsider, place, since, caller)
            now = self._clock.monotonic()
        try:
            trial = at.rests.enter(caller, now)
        except LeftAlone:
            at.in_flight -= 1
            at.queue.give_back(is_line=is_line)
            raise
        cold = at.workers.take(now)
        lease = at.leases.begin(
            now, now + load_s, expected_cold=cold, trial=trial, ping=ping, is_line=is_line
        )
        return at, lease

    def lease_at_once(self, now: float, load_s: float) -> Lease | None:
        """A lease for a call that need not wait; None where it must, or where not everybody may
        come: then ``lease`` is for it."""
        if self.rests.health.scopes or not self.queue.take():
            return None
        self.note_call(now)
        self.in_flight += 1
        return self.leases.begin(now, now + load_s, expected_cold=self.workers.take(now))

    def adopt(self, ago_s: float) -> Lease:
        """The lease of a call that runs there already, sent so long ago by another gateway."""
        now = self._clock.monotonic()
        self.in_flight += 1
        self.queue.add()
        return self.leases.begin(now, now - ago_s, expected_cold=False, sent=now - ago_s)

    async def _wait(
        self,
        others: Sequence[LiveBackend],
        reconsider: Reconsider | None,
        place: Place,
        since: float | None,
        caller: Caller,
    ) -> LiveBackend:
        """The one that has a slot. A call whose backend has begun to rest is not sent there where
        it came for another one."""
        while True:
            queues = {one.queue: one for one in others}
            for one in (self, *others):  # a call is about to stand in line there
                one._timer.watch(one, one._look)
                if one.concurrency.bound is not None:
                    one.concurrency.bound.ask()
            try:
                granted = await self.queue.wait(reconsider, place, tuple(queues), since)
            except BaseException:
                self.in_flight -= 1
                raise
            at, now = queues.get(granted, self), self._clock.monotonic()
            if at is self:
                return self
            if not at.standing.blocked(now, caller.model, caller.user):
                self.in_flight -= 1
                at.in_flight += 1
                at.note_call(now)
                return at
            granted.give_back(is_line=place.rank == LINES)
            others = [one for one in others if one is not at]

    def _look(self, now: float) -> None:
        """While calls wait in line: workers may have become ready, predictions may have failed."""
        self.queue.fill()
        if now >= self._reconsider_at:
            self._reconsider_at = now + RECONSIDER_EVERY_S
            self.queue.reroute()
        if not self.queue.waiting:
            self._timer.unwatch(self)

    def note_call(self, now: float) -> None:
        always_warm = self.learned.cold is None
        if not always_warm and self.last_call is not None and not self.calls_in_all:
            self.learned.gaps.observe(now - self.last_call)
        self.last_call = now

    def share_of(self, lease: Lease) -> float:
        """The part of the machine that was the call's, on the average, since its lease began."""
        return self.leases.share_of(lease, self._clock.monotonic())

    def hand_over(self, lease: Lease) -> None:
        """The backend has promised to do the work later: whoever is next in line may be sent there.
        The lease is ended all the same, with the work."""
        self.leases.hand_over(lease)
        self.queue.give_back(is_line=lease.is_line)

    def answered(
        self, lease: Lease, call: Call, came: Usage | Exception, *, keeps_place: bool, user: str
    ) -> None:
        """The work has ended, well or not, and the call waits for something else: the machine is no
        more its, nor its place in line, unless it ``keeps_place`` until its ``end``."""
        if keeps_place:
            self.leases.hand_over(lease)
            self.in_flight += 1
        usage = came if isinstance(came, Usage) else None
        failure = came if isinstance(came, BackendError) else None
        self.end(lease, call.model, usage, failure, user=user, body=call.body)
        self._answered[id(lease)] = keeps_place

    def _was_answered(self, lease: Lease) -> bool:
        """Of a lease whose place was given away before, or is now."""
        keeps_place = self._answered.pop(id(lease), None)
        self.in_flight -= keeps_place is not False
        if keeps_place:
            self.queue.give_back(is_line=lease.is_line)
        return keeps_place is not None

    def end(
        self,
        lease: Lease,
        model: str,
        usage: Usage | None,
        failure: BackendError | None,
        *,
        user: str = "",
        body: bytes = b"",
    ) -> None:
        """Gives the place back and learns from what happened: ``usage`` of a success, ``failure``
        of a failed attempt, neither of a call broken off. ``user`` and ``body``: the caller's."""
        now = self._clock.monotonic()
        if self.leases.end(lease, now, warm=failure is None):
            self.in_flight -= 1
            self.queue.give_back(is_line=lease.is_line)
        elif self._was_answered(lease):
            return
        self.last_end = now
        if self.last_call is not None:
            self.last_call = now
        took, cold = now - lease.leased_at, lease.expected_cold
        if failure is not None:
            self.rests.add_failure(Failed(failure, model, user, hash(body), lease.trial, took), now)
            self.standing.failed(now)
            self.learned.observe_failure(failure.failure, took, now)
        elif usage is not None:
            if self.rests.health.scopes:
                self.rests.add_success(model)
            self.standing.answered(now)
            if self.queue.waiting and usage.exec_s is not None:
                foreseen_s = self.learned.run_time(model).mean
                self.queue.line.used(user, usage.exec_s - foreseen_s)
            self.learned.observe_success(
                model, usage, now, seconds=took, body_bytes=len(body), expected_cold=cold
            )
            if self.workers.held.count and not cold:
                self.workers.learn(usage, now)
        elif lease.trial:
            self.rests.end_trial(model, user)
        if failure is None and self.learned.cold is not None:
            self.learned.end(now, user, took)

    def probed(self, probe: Probe) -> None:
        """Takes over what the backend says of itself; its word on warm workers beats ours."""
        now = self._clock.monotonic()
        self.standing.hear(probe, now)
        self.round_trip_s = _round_trip_s(self._reports_round_trip)
        self.concurrency.follow()
        self.line.hear(probe, self.queue.running, now)
        if probe.warm_workers is not None:
            self.workers.hear(probe.warm_workers, now, idle=not self.calls_in_all)
            self.queue.fill()


def _round_trip_s(adapter: ReportsRoundTrip | None) -> float:
    took = None if adapter is None else adapter.round_trip_s
    return 0.0 if took is None or took < NEAR_S else took
