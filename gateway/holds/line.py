"""The calls for which a limit has no room while others hold more than they will probably cost.

A call is refused at once where the ends of others will probably make no room for it. Else it waits
here, first come first served, for a settlement of this gateway to be told, or looks again by
itself, since others share the limit. Who has just come and finds room passes by: nobody who waits
here keeps a smaller call out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from types import TracebackType

from gateway.clock import Clock
from gateway.storage.base import Claim, LimitStatus
from gateway.storage.counters import TOTALS
from gateway.types import Unit

LOOKS_EVERY_S = 0.25
"""How often the first of a line looks by itself."""
LONGEST_S = 10.0
"""For how long a call waits at most."""
MOST = 1000
"""Calls that wait in one line: none of them holds a place of those that run at once."""
_MARGIN = 1.25
"""How much more may wait than there will probably be room for: what is probable is not sure."""

_Key = tuple[str, Unit, str]
"""Scope, unit and window of a limit."""
_NEVER_LESS: frozenset[Unit] = frozenset(("calls",))
"""What is held of these is what is spent."""


class _Line:
    """At one limit. It is there while somebody waits in it."""

    __slots__ = ("expected", "turns")

    def __init__(self) -> None:
        self.turns: deque[Turn] = deque()
        self.expected = 0.0
        """What those who wait will probably cost, in the unit of the limit."""


class Turn:
    """Of one call in one line."""

    def __init__(self, lines: RoomLines, key: _Key, expected: float, until: float) -> None:
        self.key = key
        self.expected = expected
        self._lines = lines
        self._until = until
        self._woken: asyncio.Future[None] | None = None
        self._missed = False

    def wake(self) -> None:
        """It may be its turn; also told while it looks."""
        if self._woken is None:
            self._missed = True
        elif not self._woken.done():
            self._woken.set_result(None)

    async def turn(self) -> bool:
        """Waits until it is the first and there may be room; False where it has waited for long
        enough."""
        while (rest_s := self._until - self._lines.clock.monotonic()) > 0:
            first, missed = self._lines.is_first(self), self._missed
            self._missed = False
            if not (first and missed):
                await self._wait(min(LOOKS_EVERY_S, rest_s) if first else rest_s)
            if self._lines.is_first(self):
                return True
        return False

    async def _wait(self, longest_s: float) -> None:
        self._woken = asyncio.get_running_loop().create_future()
        timer = self._lines.clock.call_later(longest_s, self.wake)
        try:
            await self._woken
        finally:
            self._woken = None
            timer.cancel()


class RoomLines:
    """Of this process, by limit."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.at: dict[_Key, _Line] = {}
        """Where anybody waits."""

    def join(self, status: LimitStatus, mean: float, until: float) -> Turn | None:
        """A turn for a call that was refused; None where those who wait will probably use up what
        is there. ``mean``: what such calls cost of what is held for them. ``until``: monotonic
        seconds."""
        key, expected = _key(status.claim), status.claim.take * mean
        line = self.at.get(key)
        if line is None:
            line = self.at[key] = _Line()
        elif _is_full(line, line.expected + expected, _MARGIN * _coming(status, mean)):
            return None
        line.expected += expected
        turn = Turn(self, key, expected, until)
        line.turns.append(turn)
        return turn

    def wake(self, claims: Sequence[Claim]) -> None:
        """A call that held these has ended: the first who waits for one of them looks."""
        for claim in claims:
            line = self.at.get(_key(claim))
            if line is not None:
                line.turns[0].wake()

    def is_first(self, turn: Turn) -> bool:
        """Whether nobody is before it."""
        return self.at[turn.key].turns[0] is turn

    def leave(self, turn: Turn) -> None:
        """It waits no more, and the next one looks."""
        line = self.at[turn.key]
        line.turns.remove(turn)
        line.expected -= turn.expected
        if line.turns:
            line.turns[0].wake()
        else:
            del self.at[turn.key]


class WaitForRoom:
    """One call's, in one line after another. A context manager."""

    def __init__(self, lines: RoomLines, mean: float, until: float) -> None:
        """``mean``: what such calls cost of what is held for them. ``until``: monotonic seconds."""
        self._lines = lines
        self._mean = mean
        self._until = until
        self._turn: Turn | None = None
        self.began: float | None = None
        """When it began to wait, if it has: monotonic seconds."""

    async def wait(self, status: LimitStatus) -> bool:
        """Until there may be room in the limit that had none; False where the ends of others will
        probably make none, too many wait before it, or it has waited for long enough."""
        hopeless = not _may_come(status, self._mean)
        if self._turn is not None and (hopeless or self._turn.key != _key(status.claim)):
            self._leave()
        if hopeless:
            return False
        if self._turn is None:
            self._turn = self._lines.join(status, self._mean, self._until)
            if self._turn is None:
                return False
            if self.began is None:
                self.began = self._lines.clock.monotonic()
        return await self._turn.turn()

    def _leave(self) -> None:
        if self._turn is not None:
            self._lines.leave(self._turn)
            self._turn = None

    def __enter__(self) -> WaitForRoom:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        why: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()


def _is_full(line: _Line, expected: float, coming: float) -> bool:
    return expected > coming or len(line.turns) >= MOST


def _may_come(status: LimitStatus, mean: float) -> bool:
    """Whether the ends of others will probably make room."""
    unit = status.claim.unit
    gives_back = unit in TOTALS and unit not in _NEVER_LESS
    return gives_back and bool(status.held) and status.claim.take <= _coming(status, mean)


def _coming(status: LimitStatus, mean: float) -> float:
    """What there will be room for, where the others are of the same kind."""
    return status.remaining + status.held * (1.0 - mean)


def _key(claim: Claim) -> _Key:
    return claim.scope, claim.unit, claim.window
