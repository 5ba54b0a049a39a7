"""One timer for everything that may have to be looked at later.

A timer of its own costs a call some two microseconds even if it is cancelled, and nearly all are:
most calls end before anybody must look after them. To watch here and to unwatch costs a tenth.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.clock import Clock

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
