"""How many calls in the system came longer ago than their promise allows. Pure; O(1) a call."""

from __future__ import annotations

from collections import deque


class Overdue:
    """Counts the calls of one model by their age. ``slo_s`` is how long a call may wait for its
    worker: a call is late exactly where more calls are past it than there are workers."""

    __slots__ = ("_count", "_of_age", "_slo_s", "_young")

    def __init__(self, slo_s: float) -> None:
        self._slo_s = slo_s
        self._young: deque[tuple[float, int]] = deque()
        """(instant of arrival, call), of those that were young when last looked at."""
        self._of_age: dict[int, bool] = {}
        """Calls in the system -> whether they are past their promise."""
        self._count = 0

    @property
    def in_system(self) -> int:
        """Calls that run and calls that wait."""
        return len(self._of_age)

    def arrive(self, call: int, now: float) -> None:
        """A call came; ``call`` is a number that no other call in the system has."""
        self._young.append((now, call))
        self._of_age[call] = False

    def end(self, call: int) -> None:
        """It has its answer, or has gone."""
        if self._of_age.pop(call):
            self._count -= 1

    def count(self, now: float) -> int:
        """Calls past their promise at this instant; instants only grow."""
        young, of_age = self._young, self._of_age
        while young and now - young[0][0] >= self._slo_s:
            _, call = young.popleft()
            if call in of_age:
                of_age[call] = True
                self._count += 1
        return self._count
