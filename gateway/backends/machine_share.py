"""Whose a shared machine is, second by second. Pure: time is passed in."""

from __future__ import annotations


class MachineShare:
    """At every instant each call that is there has an equal part of the machine, so that the parts
    of all calls add up to the time in which any was there, however they overlap.

    The parts are read off a clock that runs the slower the more calls there are: one that begins
    and ends costs the same for two calls as for a thousand. Source: generalized processor sharing,
    A. K. Parekh and R. G. Gallager, 1993, doi:10.1109/90.234856 (there as virtual time).
    """

    __slots__ = ("_at", "_calls", "_virtual", "others")

    def __init__(self) -> None:
        self._at = 0.0
        self._calls = 0
        self.others = 0
        """Calls of other processes."""
        self._virtual = 0.0

    def advance(self, now: float, calls: int = 0) -> float:
        """Where the clock stands, from when on there are so many calls more: 1 as one comes, whose
        mark this is, -1 as one goes."""
        there = self._calls
        if there and now > self._at:
            self._virtual += (now - self._at) / (there + self.others)
        self._at = now
        self._calls = there + calls
        return self._virtual

    def since(self, mark: float, now: float) -> float:
        """Seconds of the machine that are a call's up to ``now``."""
        return self.advance(now) - mark

    def hear_of_others(self, calls: int, now: float) -> None:
        """So many calls of other processes are there from now on, each with an equal part."""
        self.advance(now)
        self.others = calls

    @property
    def calls(self) -> int:
        """Those that are there, the others' among them."""
        return self._calls + self.others
