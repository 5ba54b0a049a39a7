"""For what share of some time so many workers were wanted, worker by worker. Pure.

Time is cut into slots of one length; of each is kept how long how many were wanted. A share is told
of rows of slots: layer ``k`` is the ``k``-th worker, wanted whenever at least ``k`` are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

MOST = 512
"""Workers; more are not told apart."""

Shares = list[float]
"""By layer from 0 on, which is none; a layer that is not there was never wanted."""


def share_of(shares: Shares, layer: int) -> float:
    """0 where the layer is not there."""
    return shares[layer] if layer < len(shares) else 0.0


class WantedSlots:
    """The last ``keep`` slots that have ended, and the one that goes on."""

    __slots__ = ("_at", "_now", "_slot_s", "_slots", "_wanted")

    def __init__(self, slot_s: float, keep: int, now: float) -> None:
        self._slot_s = slot_s
        self._slots: deque[dict[int, float]] = deque(maxlen=keep)
        """Number wanted -> seconds."""
        self._now: dict[int, float] = {}
        self._at = now
        self._wanted = 0

    def __len__(self) -> int:
        return len(self._slots)

    def until(self, now: float) -> None:
        """As many as before were wanted up to now."""
        slot = self._now
        slot[self._wanted] = slot.get(self._wanted, 0.0) + now - self._at
        self._at = now

    def want(self, workers: int) -> None:
        """So many are wanted from now on."""
        self._wanted = min(workers, MOST)

    def close(self) -> None:
        """The slot that goes on ends."""
        self._slots.append(self._now)
        self._now = {}

    def last(self, slots: int) -> Shares:
        """Shares of the youngest slots, or of all that there are."""
        known = len(self._slots)
        return self._shares(self._slots[at] for at in range(max(0, known - slots), known))

    def first(self, slots: int) -> Shares:
        """Shares of the oldest ones."""
        return self._shares(self._slots[at] for at in range(min(slots, len(self._slots))))

    def _shares(self, slots: Iterable[dict[int, float]]) -> Shares:
        seconds: dict[int, float] = {}
        count = 0
        for slot in slots:
            count += 1
            for wanted, lasted in slot.items():
                seconds[wanted] = seconds.get(wanted, 0.0) + lasted
        shares = [0.0] * (max(seconds, default=0) + 1)
        above = 0.0
        for layer in range(len(shares) - 1, 0, -1):
            above += seconds.get(layer, 0.0)
            shares[layer] = above / (count * self._slot_s)
        return shares
