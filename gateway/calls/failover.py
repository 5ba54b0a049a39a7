"""What is done after a failed attempt: it is recorded, and another backend is asked, or none."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from adapters.errors import BackendError, FailureClass
from gateway.active_policy import ActivePolicy
from gateway.calls.attempt import Attempt
from gateway.calls.completion import Completion
from gateway.calls.state import CallState
from gateway.calls.top_up import TopUp
from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.policy.model import Retries
from gateway.routing.repeating import NextStep, RepeatBudget, WhyNot, next_step, nobody, spread
from gateway.routing.router import Quote

log = logging.getLogger("spillgate")


class Failover:
    """Leads calls on from an attempt that has failed, as often as the policy's budgets allow."""

    def __init__(
        self,
        completion: Completion,
        top_up: TopUp,
        clock: Clock,
        metrics: Metrics,
        draw: Callable[[], float],
    ) -> None:
        """``draw`` gives a number in [0, 1), by which waits are made uneven."""
        self._clock = clock
        self._metrics = metrics
        self._completion = completion
        self._top_up = top_up
        self._draw = draw
        self._budgets = defaultdict[str, RepeatBudget](RepeatBudget)
        """By route."""
        self._at_backends = defaultdict[str, RepeatBudget](RepeatBudget)

    def count(self, route: str, backend: str, now: float) -> None:
        """A call begins at a monotonic instant, which ``backend`` is asked for first: the budgets
        of both are a share of these."""
        self._budgets[route].call(now)
        self._at_backends[backend].call(now)

    def record(self, state: CallState, attempt: Attempt, raised: BackendError) -> BackendError:
        """Counts and keeps a failed attempt; returns its failure as it is understood."""
        clock_now = self._clock.monotonic()
        now = attempt.at_work_until(clock_now)
        failure = attempt.understood(raised, now)
        attempt.progress.ended_at = now  # nobody breaks it off while the call goes on from it
        name, kind = attempt.backend.name, failure.failure
        if kind is not FailureClass.SHORTAGE:
            self._metrics.failures.labels(name, kind.slug).inc()
        state.failed(attempt, failure, now, self._clock.time() - (clock_now - now))
        state.answered(attempt, now)
        state.earlier_s = state.answered_s
        log.warning(
            "call %s failed at %s (%s) after %.3f s: %s",
            state.call.id,
            name,
            kind.slug,
            state.tried[-1].seconds,
            failure.told,
        )
        return failure

    def next_step(
        self,
        active: ActivePolicy,
        state: CallState,
        attempt: Attempt,
        failure: BackendError,
        untried: Sequence[Quote],
    ) -> NextStep:
        """What is asked after the last of ``state.tried`` has failed; the call remembers why
        others are not."""
        step = self._next_step(active, state, attempt, failure, untried)
        if step.why_not is not None:
            state.leave_out(_left_out(state, step, untried), step.why_not)
        return step

    def _next_step(
        self,
        active: ActivePolicy,
        state: CallState,
        attempt: Attempt,
        failure: BackendError,
        untried: Sequence[Quote],
    ) -> NextStep:
        now = self._clock.monotonic()
        if now >= state.call.deadline:
            return nobody("deadline")
        rules = active.rules(state.call.model, state.route)
        contexts = {
            quote.backend: active.backends[quote.backend].spec.common.context for quote in untried
        }
        step = next_step(
            rules,
            failure,
            [one.asked for one in state.tried],
            attempt.quote,
            untried,
            contexts,
            now - state.received,
            attempt.rests_s(failure, state.principal.key_id, now),
        )
        if step and step.wait_s:
            step = self._in_time(step, state.call.deadline - now, untried)
        if step and active.bounds_repetitions:
            step = self._within_budgets(active, state.route, rules.retries, step, now)
        return step

    def _in_time(self, step: NextStep, left_s: float, untried: Sequence[Quote]) -> NextStep:
        """A wait that others may have been asked for as well; none where the call has not so
        long."""
        wait_s = spread(step.wait_s, self._draw())
        if wait_s < left_s:
            return msgspec.structs.replace(step, wait_s=wait_s)
        return NextStep(tuple(untried), why_not="deadline")

    def _within_budgets(
        self,
        active: ActivePolicy,
        route: str,
        retries: Retries | None,
        step: NextStep,
        now: float,
    ) -> NextStep:
        """The step without those whose own budget has no room. Takes none of it: nobody has begun
        yet."""
        left = self.with_room(active, step.quotes)
        if not left:
            return nobody("backend_retry_budget")
        if retries is not None and not self._budgets[route].has(now, retries.budget):
            return nobody("repeat_budget")
        if len(left) == len(step.quotes):
            return step
        wait_s = step.wait_s if left[0] is step.quotes[0] else 0.0
        return NextStep(left, wait_s, "backend_retry_budget")

    def has_room_at(self, active: ActivePolicy, backend: str, now: float) -> bool:
        """Whether the backend may be sent one repetition more; takes none."""
        percent = active.backends[backend].spec.common.retry_budget
        return percent is None or self._at_backends[backend].has(now, percent)

    def with_room(self, active: ActivePolicy, quotes: Iterable[Quote]) -> tuple[Quote, ...]:
        """Those of them whose backends may be sent one at this instant."""
        now = self._clock.monotonic()
        return tuple([one for one in quotes if self.has_room_at(active, one.backend, now)])

    def take_room_at(self, active: ActivePolicy, backend: str, now: float) -> None:
        """It is sent one."""
        percent = active.backends[backend].spec.common.retry_budget
        if percent is not None:
            self._at_backends[backend].take(now, percent)

    def may_not_repeat_at(
        self, active: ActivePolicy, state: CallState, backend: str
    ) -> WhyNot | None:
        """Why the backend may not be sent the call once more at this instant; None where it may.
        Takes no room."""
        if not active.bounds_repetitions:
            return None
        now = self._clock.monotonic()
        if not self.has_room_at(active, backend, now):
            return "backend_retry_budget"
        retries = active.rules(state.call.model, state.route).retries
        has_room = retries is None or self._budgets[state.route].has(now, retries.budget)
        return None if has_room else "repeat_budget"

    def take_repetition(self, active: ActivePolicy, state: CallState, backend: str) -> None:
        """It is about to be sent it: takes room of its route's budget and of its own."""
        if active.bounds_repetitions:
            now = self._clock.monotonic()
            self.take_room_at(active, backend, now)
            retries = active.rules(state.call.model, state.route).retries
            if retries is not None:
                self._budgets[state.route].take(now, retries.budget)

    def may_leave(
        self,
        active: ActivePolicy,
        state: CallState,
        attempt: Attempt,
        untried: Sequence[Quote] | None = None,
    ) -> bool:
        """Whether a backend that is well would be asked, were this attempt broken off now.
        ``untried``: those that are left, where others are asked already."""
        now, call = self._clock.monotonic(), state.call
        if untried is None:
            untried = _untried(state, attempt)
        if active.bounds_repetitions:
            untried = self.with_room(active, untried)
        backends = (active.backends[quote.backend] for quote in untried)
        if all(one.standing.blocked(now, call.model, state.principal.key_id) for one in backends):
            return False
        if not self.allows_one_more(active, state):
            return False
        rules = active.rules(call.model, state.route)
        silent = BackendError(FailureClass.TIMEOUT, "")
        asked = [*(one.asked for one in state.tried), attempt.asked(silent)]
        spent_s = now - state.received
        return bool(next_step(rules, silent, asked, attempt.quote, untried, {}, spent_s))

    def allows_one_more(self, active: ActivePolicy, state: CallState) -> bool:
        """Whether the route has attempts and repetitions left; takes none."""
        retries = active.rules(state.call.model, state.route).retries
        if retries is None:
            return True
        budget = self._budgets[state.route]
        left = len(state.tried) < retries.attempts
        return left and budget.has(self._clock.monotonic(), retries.budget)

    def end(self, state: CallState, attempt: Attempt, failure: BackendError) -> None:
        """Ends a failed attempt; what is held for the next one is somebody else's matter."""
        self._completion.close_attempt(state, attempt, failure)

    async def leave(
        self, state: CallState, attempt: Attempt, failure: BackendError, step: NextStep
    ) -> NextStep:
        """Ends a failed attempt; the next step, as far as what it has used up is held again."""
        charged = self._completion.close_attempt(state, attempt, failure)
        if charged is None:
            return step
        held = await self._top_up.hold_for(state, step.quotes)
        first = bool(held) and held[0] is step.quotes[0]
        return msgspec.structs.replace(step, quotes=held, wait_s=step.wait_s if first else 0.0)


def _untried(state: CallState, attempt: Attempt) -> list[Quote]:
    """Of backends that the call was not sent to, and still may be."""
    assert state.decision is not None
    left = {attempt.backend.name, *(one.backend for one in state.tried)}
    left.update(name for name, _ in state.not_asked)
    return [quote for quote in state.decision.quotes if quote.backend not in left]


def _left_out(state: CallState, step: NextStep, untried: Sequence[Quote]) -> list[str]:
    """The backends that a step does not ask. Where it asks none, it would not have asked those
    either for which there was no money."""
    asked = {quote.backend for quote in step.quotes}
    names = [quote.backend for quote in untried if quote.backend not in asked]
    return names if step else names + state.unaffordable
