"""How long a backend may bring nothing: then the attempt is broken off, the call is not.

A stream has brought something with its first token, a whole answer when it is here. A bound of a
stream is of what its caller sees, so it begins when the backend is asked; that of a whole answer is
of the run, and begins with it. A cold start that was expected, and so was weighed when the backend
was chosen, is of neither. What the policy declares holds whatever follows; what is only guessed, by
what is known of a backend, breaks off nothing unless another backend would be asked then, and is
well, and the run costs nothing but tokens.

A call that ends soon is never looked at: whoever watches over its client asks ``CallPatience`` now
and then. Where a call is at two backends, each attempt has a limit of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Self

from adapters.errors import BackendError, FailureClass
from gateway.active_policy import ActivePolicy
from gateway.calls.attempt import Attempt
from gateway.calls.ending import GivenUp
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.routing.answer_times import longest_silence
from gateway.shared_timer import SharedTimer

LOOKS_S = 0.25
"""How late a silence may be noticed."""
ILL_S = 10.0
"""A backend that has said of itself for so long that it is not well brings nothing more to a call
that has waited as long."""
_TOO_LONG = "The backend ran for longer than it may (max_run)."

Late = Callable[[float], bool]
"""Whether an attempt that has brought nothing yet is to be broken off at a monotonic instant."""
MayLeave = Callable[[Attempt], bool]
"""Whether another backend would be asked, were this attempt broken off now."""


class CallPatience:
    """With one call, until its answer has begun."""

    def __init__(self, active: ActivePolicy, state: CallState, may_leave: MayLeave) -> None:
        self._active, self._state = active, state
        self._may_leave = may_leave
        self._attempt: Attempt | None = None
        self._late: Late = _never

    def look(self, now: float) -> float:
        """Breaks off an attempt that is late. Returns seconds until the next look; there is none
        once the answer has begun."""
        state, attempt = self._state, self._state.attempt
        if attempt is None or state.is_raced or attempt.progress.ended_at < inf:
            return LOOKS_S
        if attempt.progress.begun or state.job is not None:
            return inf
        if attempt is not self._attempt:
            self._attempt = attempt
            self._late = late_of(self._active, state, attempt, self._may_leave)
        if now >= attempt.must_end_at:
            self._break_off(attempt, _TOO_LONG)
        elif self._late(now):
            self._break_off(attempt, words_of(state))
        return LOOKS_S

    def _break_off(self, attempt: Attempt, words: str) -> None:
        task = self._state.task
        if task is not None and self._state.gave_up is None and not self._state.stop_cause:
            why = BackendError(FailureClass.TIMEOUT, words)
            self._state.gave_up = GivenUp(why, task.cancelling())
            task.cancel()


class Looks:
    """``with Looks(clock, patience): ...`` asks it while what is inside goes on."""

    def __init__(self, clock: Clock, patience: CallPatience) -> None:
        self._clock, self._patience = clock, patience

    def __enter__(self) -> None:
        self._timer = self._clock.call_later(LOOKS_S, self._look)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        again_s = self._patience.look(self._clock.monotonic())
        if again_s < inf:
            self._timer = self._clock.call_later(again_s, self._look)


def failure_of(state: CallState, raised: BaseException) -> BackendError:
    """What an attempt failed of, or was broken off for. Raises what was raised where the call
    itself is cancelled."""
    if isinstance(raised, BackendError):
        return raised
    if (why := taken_back(state)) is None:
        raise raised
    return why


def taken_back(state: CallState) -> BackendError | None:
    """Why an attempt was broken off, whose cancellation is none of the call any more; None where
    the call itself is cancelled."""
    given, state.gave_up = state.gave_up, None
    task = asyncio.current_task()
    if given is None or task is None or task.uncancel() > given.cancellations:
        return None
    return None if state.stop_cause else given.why


class AnswerLimit:
    """``with AnswerLimit(timer, late, words): ...`` raises BackendError (TIMEOUT) with ``words``
    where what is inside has not ended when it is ``late``. A cancellation of the call itself stays
    one."""

    def __init__(self, timer: SharedTimer, late: Late, words: str) -> None:
        self._timer = timer
        self._late = late
        self._words = words
        self._passed = False

    def _look(self, now: float) -> None:
        if self._late(now):
            self._timer.unwatch(self)
            self._passed = True
            self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self._timer.watch(self, self._look)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        why: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.unwatch(self)
        if not self._passed:
            return
        others = self._task.uncancel() > self._before
        if isinstance(why, asyncio.CancelledError) and not others:
            raise BackendError(FailureClass.TIMEOUT, self._words) from None


def answer_limit(
    timer: SharedTimer,
    active: ActivePolicy,
    state: CallState,
    attempt: Attempt,
    may_leave: MayLeave,
) -> AnswerLimit:
    """The bound of one attempt of two."""
    return AnswerLimit(timer, late_of(active, state, attempt, may_leave), words_of(state))


def words_of(state: CallState) -> str:
    """What has not come."""
    what = "sent no first token" if state.call.stream else "gave no answer"
    return f"The backend {what} in time."


def late_of(active: ActivePolicy, state: CallState, attempt: Attempt, may_leave: MayLeave) -> Late:
    """The bound that the policy declares, or the guess where it leaves that to the gateway."""
    rules, common = active.rules(state.call.model, state.route), attempt.backend.spec.common
    if state.call.stream:
        limit = common.first_token if rules.first_token is None else rules.first_token
        if isinstance(limit, float):
            until = attempt.asked_at + attempt.start_s + limit
            return lambda now: now >= until
    else:
        limit = common.answer if rules.answer is None else rules.answer
        if isinstance(limit, float):
            after_s = limit
            return lambda now: now >= attempt.begins_at + after_s
    return _guessed(state, attempt, may_leave) if limit == "learned" else _never


def _never(now: float) -> bool:
    return False


def _guessed(state: CallState, attempt: Attempt, may_leave: MayLeave) -> Late:
    """A price by the second pays for a run that is broken off, and nobody knows what a native call
    asks for: there no guess breaks off any."""
    call, backend = state.call, attempt.backend
    if call.task == "infer" or not attempt.costs_tokens_at_most:
        return _never
    silence_s = longest_silence(
        backend.learned.slowest(call.model, state.preferences.output_tokens, len(call.body)),
        call.deadline - attempt.asked_at,
        in_doubt=backend.rests.was_silent(call.model),
    )
    expected_s = silence_s + attempt.quote.delay.seconds

    def is_late(now: float) -> bool:
        silent_s = now - attempt.begins_at
        if silent_s < expected_s and (silent_s < ILL_S or backend.standing.ill_for(now) < ILL_S):
            return False
        return may_leave(attempt)

    return is_late
