"""Which of the waiting calls is next: late binding, so that a call takes whatever is free first.
Pure; O(1) a call."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

C = TypeVar("C")
"""A call that waits."""

_PASSED_OVER = 5
"""A late call is passed over until it has waited so many times as long as it may."""


class Line(Generic[C]):
    """The oldest call that is not late yet comes first, and late ones after: one that is late
    anyhow must not make the next one late as well. None is passed over for ever."""

    __slots__ = ("_fresh", "_late", "_slo_s")

    def __init__(self, slo_s: float) -> None:
        self._slo_s = slo_s
        self._fresh: deque[tuple[float, C]] = deque()
        self._late: deque[tuple[float, C]] = deque()

    def __len__(self) -> int:
        return len(self._fresh) + len(self._late)

    def add(self, call: C, now: float) -> None:
        """A call that came just now."""
        self._fresh.append((now, call))

    def take(self, now: float) -> C:
        """The next one, which leaves the line. Raises IndexError where none waits."""
        fresh, late = self._fresh, self._late
        while fresh and now - fresh[0][0] > self._slo_s:
            late.append(fresh.popleft())
        if late and (not fresh or now - late[0][0] > _PASSED_OVER * self._slo_s):
            return late.popleft()[1]
        return fresh.popleft()[1]
