"""The longest that a job may run at a backend."""

from __future__ import annotations

from gateway.calls.attempt import Attempt
from gateway.calls.state import CallState
from gateway.clock import Clock, Timer

_GRACE_S = 1.0


class TimeLimit:
    """Stops a job that runs for longer than its backend's ``max_run``, or its caller's bound."""

    def __init__(
        self, clock: Clock, state: CallState | None, attempt: Attempt, most_run_s: float
    ) -> None:
        self._clock = clock
        self._state = state
        self._attempt = attempt
        self._most_run_s = most_run_s
        self._timer: Timer | None = None

    def __enter__(self) -> None:
        self._look()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        state = self._state
        if state is None or state.attempt is not self._attempt:
            return
        own_end = self._attempt.begins_at + self._most_run_s
        left_s = min(state.must_end_at + _GRACE_S, own_end) - self._clock.monotonic()
        if left_s <= 0:
            state.stop("timeout")
        else:
            self._timer = self._clock.call_later(left_s, self._look)
