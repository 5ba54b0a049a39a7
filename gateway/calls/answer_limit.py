"""Bounds for how long a backend may bring nothing: the attempt is broken off, the call is not.

A stream has brought something with its first token, a whole answer when it is here. The bound of a
stream is of what its caller sees, so it begins when the backend is asked; that of a whole answer is
of the run, and begins with it. A cold start that was expected, and so was weighed when the backend
was chosen, is of neither. What the policy declares holds whatever follows; what was learned of a
backend breaks off nothing unless another backend would be asked then, and is well.
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
from gateway.calls.state import CallState
from gateway.shared_timer import SharedTimer

Late = Callable[[float], bool]
"""Whether an attempt that has brought nothing yet is to be broken off at a monotonic instant."""


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
    may_leave: Callable[[], bool],
) -> AnswerLimit:
    """The bound of a stream, or of a whole answer; ``may_leave``: whether another backend would be
    asked now."""
    if state.call.stream:
        return first_token_limit(timer, active, state, attempt)
    return whole_answer_limit(timer, active, state, attempt, may_leave)


def first_token_limit(
    timer: SharedTimer, active: ActivePolicy, state: CallState, attempt: Attempt
) -> AnswerLimit:
    """The bound of a stream."""
    limit = active.rules(state.call.model, state.route).first_token
    if limit is None:
        limit = attempt.backend.spec.common.first_token
    until = inf if limit is None else attempt.asked_at + attempt.start_s + limit
    return AnswerLimit(timer, lambda now: now >= until, "The backend sent no first token in time.")


def whole_answer_limit(
    timer: SharedTimer,
    active: ActivePolicy,
    state: CallState,
    attempt: Attempt,
    may_leave: Callable[[], bool],
) -> AnswerLimit:
    """The bound of a whole answer; ``may_leave``: whether another backend would be asked now."""
    limit = active.rules(state.call.model, state.route).answer
    if limit is None:
        limit = attempt.backend.spec.common.answer
    late = _as_learned(state, attempt, may_leave) if limit == "learned" else _after(attempt, limit)
    return AnswerLimit(timer, late, "The backend gave no answer in time.")


def _after(attempt: Attempt, seconds: float | None) -> Late:
    if seconds is None:
        return lambda now: False
    return lambda now: now >= attempt.begins_at + seconds


def _as_learned(state: CallState, attempt: Attempt, may_leave: Callable[[], bool]) -> Late:
    """A price by the second pays for a run that is broken off: there no guess breaks off any."""
    call = state.call
    output = state.preferences.output_tokens
    silent_s = attempt.backend.learned.silent_after(call.model, output, len(call.body))
    if silent_s is None or call.task == "infer" or not attempt.costs_tokens_at_most:
        return lambda now: False
    expected_s = silent_s + attempt.quote.delay.seconds
    return lambda now: now >= attempt.begins_at + expected_s and may_leave()
