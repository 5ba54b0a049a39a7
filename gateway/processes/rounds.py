"""Rounds of questions to all processes: whoever asks hears how something stands in each of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gateway.clock import Clock, Timer
from gateway.processes.counted import without_gauges
from gateway.processes.messages import About, AllTold, Asks, TellOf, Tells, ToChild

WITHIN_S = 1.0
"""A process that has not told by then is silent in this round."""

_MOST_ENDED = 100
"""Processes that are gone, of whose trials it is known what they counted."""

Say = Callable[[int, ToChild], None]


class Rounds:
    """All of them. One goes on at a time of each thing; who asks meanwhile hears of the next, so
    that what is heard is never older than the question.

    What is counted outlives the processes: of one that is gone, what it last told is kept in a sum.
    """

    def __init__(self, serving: Callable[[], Sequence[int]], say: Say, clock: Clock) -> None:
        """``serving``: the numbers of those that can be asked."""
        self._serving = serving
        self._say = say
        self._clock = clock
        self._number = 0
        self._going_on: dict[About, _Round] = {}
        self._counted: dict[int, bytes] = {}
        self._ended = b""
        self._trials: dict[int, bytes] = {}
        self._ended_trials: deque[bytes] = deque(maxlen=_MOST_ENDED)

    def ask(self, process: int, asks: Asks) -> None:
        """A process wants to know."""
        current = self._going_on.get(asks.about)
        if current is None:
            self._begin(asks.about, {process})
        else:
            current.later.add(process)

    def tell(self, process: int, tells: Tells) -> None:
        """A process says how it is there."""
        if tells.about == "metrics":
            self._counted[process] = tells.report
        elif tells.about == "trial":
            self._trials[process] = tells.report
        current = self._going_on.get(tells.about)
        if current is not None and current.number == tells.round and process in current.lacking:
            current.lacking.remove(process)
            current.told[process] = tells.report
            self._end_if_all_told(current)

    def end(self, process: int) -> None:
        """A process is gone."""
        counted = self._counted.pop(process, None)
        if counted is not None:
            self._ended = without_gauges([self._ended, counted] if self._ended else [counted])
        if trial := self._trials.pop(process, b""):
            self._ended_trials.append(trial)
        for current in [*self._going_on.values()]:
            current.lacking.discard(process)
            current.told.pop(process, None)
            current.askers.discard(process)
            current.later.discard(process)
            self._end_if_all_told(current)

    def _begin(self, about: About, askers: set[int]) -> None:
        self._number += 1
        processes = self._serving()
        number = self._number
        timer = self._clock.call_later(WITHIN_S, lambda: self._end(current))
        current = self._going_on[about] = _Round(number, about, askers, {*processes}, timer)
        for process in processes:
            self._say(process, TellOf(number, about))

    def _end_if_all_told(self, current: _Round) -> None:
        if not current.lacking:
            self._end(current)

    def _end(self, current: _Round) -> None:
        current.timer.cancel()
        told = AllTold(current.about, tuple(self._reports(current)), tuple(sorted(current.lacking)))
        for process in current.askers:
            self._say(process, told)
        del self._going_on[current.about]
        if current.later:
            self._begin(current.about, current.later)

    def _reports(self, current: _Round) -> Iterable[tuple[int, bytes]]:
        """Of what is counted also what is known of those that are silent or gone."""
        if current.about == "trial":
            return [*((0, one) for one in self._ended_trials), *sorted(self._trials.items())]
        if current.about != "metrics":
            return sorted(current.told.items())
        ended = [(0, self._ended)] if self._ended else []
        return [*ended, *sorted(self._counted.items())]


class _Round:
    def __init__(
        self, number: int, about: About, askers: set[int], lacking: set[int], timer: Timer
    ) -> None:
        self.number = number
        self.about = about
        self.askers = askers
        self.lacking = lacking
        self.timer = timer
        self.told: dict[int, bytes] = {}
        self.later: set[int] = set()
        """Who has asked meanwhile."""
