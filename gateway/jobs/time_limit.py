"""The longest that a job may run at a backend, and how long that may bring nothing."""

from __future__ import annotations

import asyncio
from types import TracebackType

from adapters.errors import BackendError
from gateway.calls.answer_limit import LOOKS_S, CallPatience, taken_back
from gateway.calls.attempt import Attempt
from gateway.calls.history import NOTHING
from gateway.calls.state import CallState
from gateway.clock import Clock, Timer

_GRACE_S = 1.0


class TimeLimit:
    """Stops a job that has had its time, or its caller's bound. An attempt that is broken off by
    ``patience`` ends in a BackendError, with what the platform has said that it used."""

    def __init__(
        self,
        clock: Clock,
        state: CallState,
        most_run_s: float,
        patience: CallPatience,
        attempt: Attempt,
    ) -> None:
        self._clock = clock
        self._state = state
        self._attempt = attempt
        self._most_run_s = most_run_s
        self._patience = patience
        self._timer: Timer | None = None

    def __enter__(self) -> None:
        self._look()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        why: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not isinstance(why, asyncio.CancelledError):
            return
        if (left := taken_back(self._state)) is not None:
            said = self._attempt.progress.usage
            usage = None if said is NOTHING else said
            raise BackendError(left.failure, left.message, usage=usage) from None

    def _look(self) -> None:
        state, now = self._state, self._clock.monotonic()
        if state.attempt is not self._attempt:
            return
        own_end = self._attempt.begins_at + self._most_run_s
        left_s = min(state.must_end_at + _GRACE_S, own_end) - now
        if left_s <= 0:
            state.stop("timeout")
        else:
            begun = self._timer is not None  # only what waits can be broken off
            left_s = min(left_s, self._patience.look(now) if begun else LOOKS_S)
            self._timer = self._clock.call_later(left_s, self._look)
