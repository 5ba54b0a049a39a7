"""How many frames may come in a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from websockets.frames import DATA_OPCODES, Frame, Opcode

MOST_FRAMES_S = 1000
_MOST_NOISE_S = 50
_MOST_NOISE_AT_ONCE = 500
TOO_MUCH_NOISE = "too many frames that say nothing: pings, pongs and empty ones"
POLICY_VIOLATION = 1008


class Pace:
    """``per_s`` in the long run, ``at_once`` after a rest. ``now`` tells seconds."""

    def __init__(self, per_s: int, at_once: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._at_once, self._now = per_s, at_once, now
        self._left = float(at_once)
        self._since = now()

    def wait_s(self) -> float:
        """Seconds until one more may come; 0 where it may at once."""
        now = self._now()
        self._left = min(self._at_once, self._left + (now - self._since) * self._per_s)
        self._since = now
        return max(0.0, (1 - self._left) / self._per_s)

    def spend(self) -> None:
        """One came."""
        self._left -= 1


class Noise:
    """Frames that say nothing: they cost work, and whoever bounds messages does not see them."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._pace = Pace(_MOST_NOISE_S, _MOST_NOISE_AT_ONCE, now)

    def is_too_much(self, frame: Frame) -> bool:
        """With this frame. An empty one that ends a message says that."""
        if frame.opcode in DATA_OPCODES and (frame.data or _ends_message(frame)):
            return False
        if self._pace.wait_s():
            return True
        self._pace.spend()
        return False


def _ends_message(frame: Frame) -> bool:
    return frame.fin and frame.opcode is Opcode.CONT
