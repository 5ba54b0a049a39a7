"""Whose turn it is: the keys of a line have equal parts of the backends' time.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996), in seconds that jobs ran: a key that
comes anew is where the one is that was served last, so nobody saves up turns, and nobody is made to
wait for what it had while nobody else waited. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from gateway.storage.jobs.base import StoredJob

_SHORTEST_S = 0.001
_NEWS = 0.25
"""How much of what is foreseen of a key is what its last job took."""
_MOST_OWED = 400
"""Keys that one question names: those that have had the most."""


class KeyLine(NamedTuple):
    """The jobs of one key, of one rank."""

    model: str
    rank: int
    key_id: str


class JobTurns:
    """Of one gateway: what is on its way at others is counted in their store."""

    def __init__(self) -> None:
        self._had: dict[KeyLine, float] = {}
        """Seconds, among them those that it might have had."""
        self._reached: dict[tuple[str, int], float] = {}
        """Of a model and a rank: where whoever was served last is, and who comes anew."""
        self._runs_s: dict[KeyLine, float] = {}
        """How long its jobs run, by the last ones."""
        self._busy = Counter[KeyLine]()
        """Jobs on their way."""

    def taken(self, jobs: Iterable[StoredJob], each_s: Callable[[str], float]) -> None:
        """``each_s``: of a model, how long a job runs, as far as is known."""
        lines = set[KeyLine]()
        for line in map(_line_of, jobs):
            lines.add(line)
            if not self._busy[line]:
                self._had[line] = max(self._had.get(line, 0.0), self._reached.get(line[:2], 0.0))
            self._runs_s.setdefault(line, each_s(line.model))
            self._busy[line] += 1
        for place in {line[:2] for line in lines}:
            begins = [self._begins(line) for line in lines if line[:2] == place]
            self._reached[place] = max(self._reached.get(place, 0.0), min(begins))

    def _begins(self, line: KeyLine) -> float:
        """Where it was when the last of its jobs was taken."""
        return self._had[line] + (self._busy[line] - 1) * self._runs_s[line]

    def left(self, job: StoredJob, ran_s: float | None) -> None:
        """It has ended, or waits again; None: it was not begun."""
        line = _line_of(job)
        if ran_s is not None:
            ran_s = max(ran_s, _SHORTEST_S)
            self._had[line] += ran_s
            self._runs_s[line] += _NEWS * (ran_s - self._runs_s[line])
        self._busy[line] -= 1
        if not self._busy[line]:
            del self._busy[line]
        self._forget()

    def owed(
        self, model: str, each_s: float, running: Iterable[tuple[StoredJob, float]]
    ) -> dict[tuple[int, str], float]:
        """Rank and key -> jobs of ``each_s`` that it has had before others, less those on their
        way. ``running``: jobs with the seconds that they have run by now, of which those count
        that are more than the key's other jobs take."""
        each_s, ahead = max(each_s, _SHORTEST_S), dict[KeyLine, float]()
        for line, had in self._had.items():
            if line.model == model:
                on_way = self._busy.get(line, 0) * (self._runs_s[line] - each_s)
                ahead[line] = had + on_way - self._reached.get(line[:2], 0.0)
        for job, ran_s in running:
            if job.model == model:
                line = _line_of(job)
                ahead[line] += max(0.0, ran_s - self._runs_s[line])
        most = sorted(((had, line) for line, had in ahead.items() if had), reverse=True)
        return {(line.rank, line.key_id): had / each_s for had, line in most[:_MOST_OWED]}

    def _forget(self) -> None:
        """Those that are where one would be that comes anew."""
        for line, had in [*self._had.items()]:
            if line not in self._busy and had <= self._reached.get(line[:2], 0.0):
                del self._had[line], self._runs_s[line]


def _line_of(job: StoredJob) -> KeyLine:
    return KeyLine(job.model, job.rank, job.key_id)
