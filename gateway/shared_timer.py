"""One timer for everything that may have to be looked at later.

A timer of its own costs a call some two microseconds even if it is cancelled, and nearly all are:
most calls end before anybody must look after them. To watch here and to unwatch costs a tenth.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf

from gateway.clock import Clock, Timer

log = logging.getLogger("spillgate")

EVERY_S = 0.05

Look = Callable[[float], None]
"""Called with the monotonic time on every round; may unwatch, and may watch others."""


class SharedTimer:
    """One callback of the clock every ``EVERY_S`` while anything is watched; none otherwise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looks: dict[object, Look] = {}
        self._going = False

    def watch(self, member: object, look: Look) -> None:
        """``look`` is called on every round from now on; one a member."""
        self._looks[member] = look
        if not self._going:
            self._going = True
            self._clock.call_later(EVERY_S, self._go)

    def unwatch(self, member: object) -> None:
        """It is looked at no more; nothing happens to one that was not watched."""
        self._looks.pop(member, None)

    def _go(self) -> None:
        now = self._clock.monotonic()
        for member, look in list(self._looks.items()):
            try:
                look(now)
            except Exception:
                log.exception("looking after %r failed; it is looked after no more", member)
                self.unwatch(member)
        self._going = bool(self._looks)
        if self._going:
            self._clock.call_later(EVERY_S, self._go)


class LaterLooks:
    """Members of a shared timer that join it at an instant of their own: until the first of them
    does, nothing is called for them."""

    def __init__(self, timer: SharedTimer, clock: Clock) -> None:
        self._timer = timer
        self._clock = clock
        self._later: dict[object, tuple[float, Look]] = {}
        self._wakes_at = inf
        self._waking: Timer | None = None

    def watch(self, member: object, look: Look, since: float) -> None:
        """``look`` is called on every round from ``since`` on, in monotonic seconds."""
        self._later[member] = since, look
        self._wake_by(since)

    def unwatch(self, member: object) -> None:
        """It is looked at no more; nothing happens to one that was not watched."""
        self._later.pop(member, None)
        self._timer.unwatch(member)

    def _wake_by(self, instant: float) -> None:
        if instant >= self._wakes_at:
            return
        if self._waking is not None:
            self._waking.cancel()
        self._wakes_at = instant
        left_s = max(instant - self._clock.monotonic(), 0.0)
        self._waking = self._clock.call_later(left_s, self._wake)

    def _wake(self) -> None:
        self._wakes_at, self._waking = inf, None
        now = self._clock.monotonic()
        for member in [member for member, (since, _) in self._later.items() if since <= now]:
            _, look = self._later.pop(member)
            self._timer.watch(member, look)
        if self._later:
            self._wake_by(min(since for since, _ in self._later.values()))
