"""The way into a backend for a call that has failed before: it takes room of the budgets of
repetitions when it is about to be asked, and gives it to nobody who is not."""

from __future__ import annotations

from collections import deque

from gateway.active_policy import ActivePolicy
from gateway.calls.attempt import Attempt
from gateway.calls.backend_limits import NotEntered
from gateway.calls.completion import Completion
from gateway.calls.entering import Entering
from gateway.calls.failover import Failover
from gateway.calls.state import CallState
from gateway.routing.router import Quote


class NoRepetition(NotEntered):
    """Raised to a call that no budget lets a backend be sent once more."""


class Repeating:
    """Takes calls into the next backend."""

    def __init__(self, entering: Entering, failover: Failover, completion: Completion) -> None:
        self._entering = entering
        self._failover = failover
        self._completion = completion

    async def enter(
        self,
        active: ActivePolicy,
        state: CallState,
        quote: Quote,
        untried: deque[Quote],
        *,
        last_resort: bool,
    ) -> Attempt:
        """As ``Entering.enter`` does. Raises NoRepetition too, and then nothing is held there. One
        of ``untried`` that had a free slot sooner, and no room any more, is taken out of them."""
        if not active.bounds_repetitions:
            return await self._entering.enter(
                active, state, quote, untried, last_resort=last_resort
            )
        failover = self._failover
        while True:
            if (why := failover.may_not_repeat_at(active, state, quote.backend)) is not None:
                raise NoRepetition(why)
            others = failover.with_room(active, untried)
            attempt = await self._entering.enter(
                active, state, quote, others, last_resort=last_resort
            )
            at = attempt.quote
            if (why := failover.may_not_repeat_at(active, state, at.backend)) is None:
                failover.take_repetition(active, state, at.backend)
                return attempt
            self._completion.not_sent(state, attempt)
            if at is quote:
                raise NoRepetition(why)
            state.leave_out((at.backend,), why)
            untried.remove(at)
