"""CallBounds on the calls at a backend, over all processes: who may have how many. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.processes.messages import GivesBack, Granted, Recalled, ToChild, Wants


class Grant(msgspec.Struct, frozen=True):
    """The process may have so many more; ``pressed``: though others lack some."""

    process: int
    more: int
    pressed: bool


class Recall(msgspec.Struct, frozen=True):
    """The process is to keep no more than ``left``, and none that it does not need."""

    process: int
    left: int


Said = list[Grant | Recall]


class BoundShares:
    """The parts of one bound. Never more than ``total`` are granted and not given back."""

    def __init__(self, total: int, processes: int) -> None:
        """``processes``: how many there are to be."""
        self._total = total
        self._fair = total // processes
        self._held: dict[int, int] = {}
        self._wanted: dict[int, int] = {}
        self._recalled: set[int] = set()
        self._turns: dict[int, int] = {}
        """When each was granted some last, in turns."""
        self._turn = 0

    @property
    def granted(self) -> int:
        """In all."""
        return sum(self._held.values())

    def want(self, process: int, calls: int) -> Said:
        """A process has so many calls, of which some wait; what is to be told to whom."""
        self._held.setdefault(process, 0)
        self._wanted[process] = calls
        return self._share(process)

    def give_back(self, process: int, count: int) -> Said:
        """A process does not need so many any more, or was told to keep less; it asks again where
        it lacks some."""
        self._held[process] -= count
        self._wanted[process] = 0
        return self._share()

    def end(self, process: int) -> Said:
        """A process is gone, and its calls with it."""
        self._held.pop(process, None)
        self._wanted.pop(process, None)
        self._turns.pop(process, None)
        self._recalled.discard(process)
        return self._share()

    def _share(self, asks: int = 0) -> Said:
        """``asks``: the process that has just said what it lacks."""
        grants = self._grant()
        lacking = any(self._lacks(process) for process in self._held)
        if not lacking:
            self._recalled.clear()
        said: Said = [Grant(process, more, lacking) for process, more in grants.items()]
        for process in grants:
            self._recalled.discard(process)
        return [*said, *self._recall({asks, *grants})] if lacking else said

    def _grant(self) -> dict[int, int]:
        """What is free goes to whoever has least of those that lack. A process that asks for some
        is given its fair part, where that is free, so that it need not ask for each call."""
        free = self._total - self.granted
        more: dict[int, int] = {}
        while free > 0 and (lacking := [one for one in self._held if self._lacks(one)]):
            least = min(lacking, key=self._precedence)
            self._turn += 1
            self._turns[least] = self._turn
            self._held[least] += 1
            more[least] = more.get(least, 0) + 1
            free -= 1
        for process in more:
            spare = max(0, min(free, self._fair - self._held[process]))
            self._held[process] += spare
            more[process] += spare
            free -= spare
        return more

    def _recall(self, known: set[int]) -> Iterator[Recall]:
        """From those that have more than their fair part, and those that may not need theirs any
        more, which are all but ``known``. Where there is less than one for each, they take turns:
        a fair part is none then."""
        fair = self._total // len(self._held)
        for process, held in self._held.items():
            if process in self._recalled or not held:
                continue
            if held > fair or process not in known:
                self._recalled.add(process)
                self._wanted[process] = 0  # it asks again where it lacks some
                yield Recall(process, fair)

    def _precedence(self, process: int) -> tuple[int, int]:
        return self._held[process], self._turns.get(process, 0)

    def _lacks(self, process: int) -> bool:
        return self._wanted.get(process, 0) > self._held[process]


class CallBounds:
    """All of them, by backend and by how many calls there may be at it."""

    def __init__(self, processes: int) -> None:
        """``processes``: how many there are to be."""
        self._processes = processes
        self._shares: dict[tuple[str, int], BoundShares] = {}

    def hear(self, process: int, message: Wants | GivesBack) -> list[tuple[int, ToChild]]:
        """What is to be told to which process."""
        key = message.backend, message.bound
        shares = self._shares.get(key)
        if shares is None:
            shares = self._shares[key] = BoundShares(message.bound, self._processes)
        if isinstance(message, Wants):
            return _told(key, shares.want(process, message.calls))
        return _told(key, shares.give_back(process, message.count))

    def end(self, process: int) -> list[tuple[int, ToChild]]:
        """The same, when a process is gone."""
        parts = (_told(key, shares.end(process)) for key, shares in self._shares.items())
        return [one for part in parts for one in part]


def _told(key: tuple[str, int], said: Said) -> list[tuple[int, ToChild]]:
    told: list[tuple[int, ToChild]] = []
    for one in said:
        if isinstance(one, Grant):
            told.append((one.process, Granted(*key, one.more, one.pressed)))
        else:
            told.append((one.process, Recalled(*key, one.left)))
    return told
