"""The road: admit a call, walk its decision backend by backend, settle it exactly once.

Steps, and what a caller or a dying process leaves behind at each await:

    admit      nothing is held before it; after it the hold is settled, or expires by itself
    open row   only before a paid backend; from here on a restart settles the call
    invoke     cancelled: the remote work is stopped, what was used is charged
    settle     in the shared store, then in the ledger; both take a call's end only once
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from functools import cached_property, partial

from adapters.errors import BackendError
from adapters.types import Call, Reply
from gateway.active_policy import ActivePolicy, Queued
from gateway.backends.rests import LeftAlone
from gateway.calls.admitting import Admitting
from gateway.calls.answer_limit import CallPatience, failure_of
from gateway.calls.attempt import Attempt
from gateway.calls.backend_limits import BackendLimits, NoRoom, NotEntered, TooLate
from gateway.calls.completion import Completion
from gateway.calls.entering import Entering
from gateway.calls.failover import Failover
from gateway.calls.job_calls import JobCalls
from gateway.calls.larger_model import LargerModel
from gateway.calls.model_limits import ModelLimits
from gateway.calls.promised import PromisedJobs
from gateway.calls.refusals import (
    no_backend,
    refusal_of,
    stopped,
    store_unavailable,
    too_late,
)
from gateway.calls.repeating import Repeating
from gateway.calls.rerouting import Rerouted
from gateway.calls.slow_clients import SlowClients
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream, settled
from gateway.calls.top_up import TopUp
from gateway.clock import Clock
from gateway.dialects.asking import ask
from gateway.metrics import Metrics
from gateway.money.limit_refusals import refusal
from gateway.money.settling.settlement import Settler
from gateway.preferences import Preferences
from gateway.routing.router import Decision, Quote
from gateway.routing.sums import may_begin_within
from gateway.routing.volume import CallVolume
from gateway.shared_timer import SharedTimer
from gateway.storage.base import Ledger, SharedStore, StorageUnavailable
from gateway.tasks import BackgroundTasks, take_back_cancellation
from gateway.types import ApiError, Principal

Answer = Reply | SettledStream
"""Whole, settled, the backend's secrets taken out; or a stream, which sees to both itself."""
Begin = Callable[[CallState, Attempt, Reply], Awaitable[SettledStream]]
"""A stream, when its first chunk is here. Raises BackendError."""
Hedged = Callable[[ActivePolicy, CallState, Attempt, deque[Quote], Begin], Awaitable[Answer | None]]
"""What the quicker of two backends brings, not settled; None: to be asked of one alone."""


_NOBODY: frozenset[str] = frozenset()


class Dispatcher:
    """Takes calls from their admission to their answer."""

    admits, enters, completes = Admitting, Entering, Completion
    """What its parts are made of; a dispatcher that is traced has others."""
    _hedged: Hedged | None = None

    def __init__(
        self,
        *,
        shared: SharedStore,
        ledger: Ledger,
        settler: Settler,
        clock: Clock,
        metrics: Metrics,
        random_source: random.Random,
        slow_clients: SlowClients,
    ) -> None:
        self.volume = CallVolume()
        self.timer = SharedTimer(clock)
        self.background = BackgroundTasks()
        """Settlements that outlive their calls."""
        self._shared, self._ledger = shared, ledger
        self._settler = settler
        self._clock = clock
        self._metrics = metrics
        self._random = random_source
        self.slow_clients = slow_clients
        self._top_up = TopUp(
            shared=shared, ledger=ledger, clock=clock, timer=self.timer, background=self.background
        )
        limits = BackendLimits(shared=shared, clock=clock, full=settler.full)
        model_limits = ModelLimits(shared=shared, clock=clock)
        held: set[CallState] = set()
        self._completion = self.completes(
            shared=shared,
            settler=settler,
            clock=clock,
            metrics=metrics,
            top_up=self._top_up,
            background=self.background,
            held=held,
        )
        self._failover = Failover(self._completion, self._top_up, clock, metrics, self.draw)
        self.admitting = self.admits(
            shared=shared,
            slow_clients=slow_clients,
            held=held,
            decide=self._decide,
            clock=clock,
            top_up=self._top_up,
            spending=settler.spending,
            usual=settler.usual,
            lines=settler.lines,
            waits=metrics.holds.waited,
            reinstating=(model_limits.reinstate, limits.reinstate),
        )
        self._larger = LargerModel(
            self._failover, self._completion, self._top_up, model_limits, self._decide
        )
        self.entering = self.enters(
            ledger=ledger, clock=clock, backend_limits=limits, decide=self._decide
        )
        self._repeating = Repeating(self.entering, self._failover, self._completion)
        self._promised = PromisedJobs(completion=self._completion, ledger=ledger)

    @cached_property
    def jobs(self) -> JobCalls:
        """What is done for calls that are durable jobs."""
        parts = (self.admitting, self._completion, self._failover, self._top_up, self.volume)
        return JobCalls(*parts, clock=self._clock, quotes=self._quotes, walk=self._walk)

    def hedge_by(self, make: Callable[[Failover, Completion, TopUp], Hedged]) -> None:
        """Slow calls are asked of a second backend as well, as ``make`` does by these parts."""
        self._hedged = make(self._failover, self._completion, self._top_up)

    def patience(self, active: ActivePolicy, state: CallState) -> CallPatience:
        """That with the backends of a call, which whoever watches over the call has to ask."""
        return CallPatience(active, state, partial(self._failover.may_leave, active, state))

    async def aclose(self) -> None:
        """Ends the work that goes on without a caller, and waits for every settlement."""
        await self._promised.aclose()
        await self.background.drain()

    @property
    def held(self) -> int:
        """Calls that hold something in the shared store, or would."""
        return len(self.admitting.held)

    async def reinstate(self, active: ActivePolicy) -> None:
        """What calls on their way hold is held again, also in the limits of ``active`` that came
        after them. Raises StorageUnavailable."""
        await self.admitting.reinstate(active)

    # --- the way in ---------------------------------------------------------------------------

    def decide(
        self,
        active: ActivePolicy,
        call: Call,
        principal: Principal,
        preferences: Preferences,
        *,
        received_at: float,
        queued: Queued | None = None,
        whenever: bool = False,
    ) -> Decision:
        """The decision for a call at this instant, without making it. ``received_at``: seconds
        since the epoch. ``queued``: where the call waits in line already. ``whenever``: for some
        other instant, at which every backend can be asked."""
        return active.decide(
            call,
            principal,
            preferences,
            now=self._clock.monotonic(),
            per_day=lambda: self.volume.per_day(call.model, received_at),
            draw=self._random.random,
            queued=queued,
            whenever=whenever,
        )

    def _decide(
        self,
        active: ActivePolicy,
        state: CallState,
        queued: Queued | None = None,
        call: Call | None = None,
        *,
        whenever: bool = False,
    ) -> Decision:
        call, at = call or state.call, state.received_at
        return active.decide(
            call,
            state.principal,
            state.preferences,
            now=self._clock.monotonic(),
            per_day=lambda: self.volume.per_day(call.model, at),
            draw=self._random.random,
            queued=queued,
            whenever=whenever,
        )

    async def ask(self, active: ActivePolicy, state: CallState) -> Answer:
        """Runs the call. A whole answer is settled when this returns; of a stream the first chunk
        is here, and whoever takes it closes it.

        Raises ApiError after settling, or CancelledError after settling when the call was
        stopped.
        """
        active.calls += 1
        try:
            try:
                quotes = await self.admitting.admit(active, state, self._quotes(active, state))
            except StorageUnavailable as unavailable:
                raise self._refused(store_unavailable(unavailable)) from None
            except ApiError as error:
                raise self._refused(error) from None
            self.volume.add(state.call.model, state.received_at)
            if active.bounds_repetitions:
                self._failover.count(state.route, quotes[0].backend, state.received)
            try:
                answer = await self._walk(active, state, quotes)
                if not isinstance(answer, BackendError):
                    return answer
                await self._completion.call_failed(state, answer)
            except (NoRoom, TooLate) as full:
                refused = self._refused(_why_not(full))
                await self._completion.refused(state, refused.status, refused.code)
                raise refused from None
            except asyncio.CancelledError:
                await self._completion.abandon(state)
                if (cause := stopped(state.stop_cause)) is None:
                    raise
                take_back_cancellation()
                raise cause from None
            except StorageUnavailable as unavailable:
                await self._completion.not_asked(state, unavailable)
                raise store_unavailable(unavailable) from None
            except Exception:
                await self._completion.abandon_after_fault(state)
                raise
            raise refusal_of(answer, state.tried, state.unaffordable)
        finally:
            active.calls -= 1

    def _quotes(
        self, active: ActivePolicy, state: CallState, *, whenever: bool = False
    ) -> tuple[Quote, ...]:
        """Of the backends that the call may be sent to. Raises ApiError where there are none."""
        self._settler.check()
        decision = self._decide(active, state, whenever=whenever)
        state.routed(decision)
        if not decision.quotes:
            now, user = self._clock.monotonic(), state.principal.user
            again_s = active.asked_again_in(state.call.model, state.route, user, now)
            raise no_backend(decision, active.backends, again_s)
        if decision.quotes[0].delay.seconds:
            waits_s = min([quote.delay.seconds for quote in decision.quotes])
            left_s = state.waits_until - self._clock.monotonic()
            if waits_s > left_s and not may_begin_within(decision.quotes, left_s):
                raise too_late(waits_s, left_s)
        return decision.quotes

    def draw(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()

    def _refused(self, error: ApiError) -> ApiError:
        self._metrics.refused.labels(error.code).inc()
        return error

    # --- the walk -----------------------------------------------------------------------------

    async def _walk(
        self, active: ActivePolicy, state: CallState, quotes: tuple[Quote, ...]
    ) -> Answer | BackendError:
        """Asks one backend after another, until one answers or none may be asked after a failure,
        which is returned then."""
        untried = deque(quotes)
        failure: BackendError | None = None
        again = False
        put_off = _NOBODY
        while True:
            quote = untried.popleft()
            last_resort = again or not untried or quote.backend in put_off
            try:
                enter = self.entering.enter if failure is None else self._repeating.enter
                attempt = await enter(active, state, quote, untried, last_resort=last_resort)
            except LeftAlone as resting:
                if resting.hard:
                    state.left_alone(quote, untried)
                else:
                    put_off |= {quote.backend}
                    untried.append(quote)
                if untried:
                    continue
                return failure or resting.failure
            except NotEntered as left:
                state.left_alone(quote, untried, left.why)
                if untried:
                    continue
                if failure is None:
                    raise
                return failure
            except Rerouted as rerouted:
                untried = deque(rerouted.take(state, quote))
                continue
            if attempt.quote is not quote:
                untried.remove(attempt.quote)
                untried.appendleft(quote)
            try:
                return await self._ask(active, state, attempt, untried)
            except (BackendError, asyncio.CancelledError) as raised:
                attempt = state.attempt or attempt  # the second of two, where the first failed too
                failure = self._failover.record(state, attempt, failure_of(state, raised))
            step = self._failover.next_step(active, state, attempt, failure, untried)
            if not step:
                larger = await self._larger.next_step(active, state, attempt, failure)
                if larger is None:
                    return failure
                step = larger
            else:
                step = await self._failover.leave(state, attempt, failure, step)
                if not step:
                    return failure
            untried = deque(step.quotes)
            again = untried[0] is attempt.quote
            if step.wait_s:
                await self._clock.sleep(step.wait_s)
                state.waited_s += step.wait_s
            state.reason = "FAILOVER"

    async def _ask(
        self, active: ActivePolicy, state: CallState, attempt: Attempt, untried: deque[Quote]
    ) -> Answer:
        """Raises BackendError, or what an adapter with a fault raises."""
        quote = attempt.quote
        timed = quote.reserved or quote.estimate.per_second
        if timed and (state.opened or state.admission.claims or state.beside):
            self._top_up.arm(state, attempt, attempt.asked_at)
        if active.hedges and self._hedged is not None:
            brought = await self._hedged(active, state, attempt, untried, self._begin)
            if isinstance(brought, SettledStream):
                return brought
            if brought is not None and state.attempt is not None:
                return await self._take(state, state.attempt, brought)
        if state.durable is not None and not state.call.stream:
            return await self._take(state, attempt, await state.durable.ask(attempt))
        reply = await ask(
            attempt.backend.adapter, attempt.call, attempt.backend.spec.common.output_bound
        )
        return await self._take(state, attempt, reply)

    async def _take(self, state: CallState, attempt: Attempt, reply: Reply) -> Answer:
        """What a backend has answered: a stream, a whole answer, or the promise of one, of which
        the work goes on without the caller."""
        if reply.chunks is not None:
            return await self._begin(state, attempt, reply)
        state.answered(attempt, self._clock.monotonic())
        if reply.rest is None:
            await self._completion.finish(state, attempt, reply.usage)
        else:
            await self._promised.follow(state, attempt, reply)
        return attempt.backend.redactor.over(reply)

    async def _begin(self, state: CallState, attempt: Attempt, reply: Reply) -> SettledStream:
        """A stream, when its first chunk is here."""
        stream = settled(self._completion, state, attempt, reply)
        try:
            await stream.begin()
        except BaseException:
            await stream.drop()
            raise
        state.answered(attempt, self._clock.monotonic())
        return stream


def _why_not(left: NoRoom | TooLate) -> ApiError:
    return (
        refusal(left.refused) if isinstance(left, NoRoom) else too_late(left.least_s, left.left_s)
    )
