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

    def begin(self, now: float) -> float:
        """A call comes; returns its mark."""
        self._advance(now)
        self._calls += 1
        return self._virtual

    def since(self, mark: float, now: float) -> float:
        """Seconds of the machine that are a call's up to ``now``."""
        self._advance(now)
        return self._virtual - mark

    def end(self, now: float) -> None:
        """A call goes."""
        self._advance(now)
        self._calls -= 1

    def hear_of_others(self, calls: int, now: float) -> None:
        """So many calls of other processes are there from now on, each with an equal part."""
        self._advance(now)
        self.others = calls

    @property
    def calls(self) -> int:
        """Those that are there, the others' among them."""
        return self._calls + self.others

    def _advance(self, now: float) -> None:
        if self._calls and now > self._at:
            self._virtual += (now - self._at) / (self._calls + self.others)
        self._at = now
