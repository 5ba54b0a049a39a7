"""What room the lines of batches have beside the calls of one backend."""

from __future__ import annotations

from math import inf

from gateway.planning.kept_free import KeptFree

_REMEMBERED_S = 60.0
"""At least so long it is remembered how many calls were there at once, twice that at the most."""
_RUNS = 10
"""Runs of a line without one that has begun, after which one does."""


class LineRoom:
    """Instants are monotonic seconds."""

    __slots__ = ("_begun_at", "_most_before", "_since", "most_calls", "running")

    def __init__(self) -> None:
        self.running = 0
        """Lines."""
        self._begun_at = -inf
        """When the last one did."""
        self.most_calls = self._most_before = 0
        """That were there at once, since ``_since`` and in the time before it."""
        self._since = -inf

    def begin(self, now: float) -> None:
        self.running += 1
        self._begun_at = now

    def saw(self, calls: int) -> None:
        """So many that are no lines run or wait."""
        if calls > self.most_calls:
            self.most_calls = calls

    def takes(self, kept: KeptFree, in_all: int, line_s: float, now: float) -> bool:
        """Whether one more line of ``line_s`` seconds may begin where ``in_all`` calls and lines
        run: while the slots that are kept stay free, those that running calls have filled or that
        no call has had use for lately not counted; and now and then whatever is kept."""
        if in_all >= kept.slots:
            return False
        self._forget(in_all - self.running, now)
        return (
            in_all < kept.slots - kept.free
            or self.running < kept.slots - max(self.most_calls, self._most_before)
            or now - self._begun_at >= _RUNS * line_s
        )

    def _forget(self, calls: int, now: float) -> None:
        if now - self._since >= _REMEMBERED_S:
            self._most_before, self.most_calls = self.most_calls, 0
            self._since = now
        self.saw(calls)
