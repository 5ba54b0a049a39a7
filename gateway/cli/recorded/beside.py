"""Work in a process of its own, beside what goes on here: a machine has more cores than one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypeVar

R = TypeVar("R", covariant=True)
T = TypeVar("T")


class TellingWork(Protocol[R]):
    """Work that tells of each of its stages how much of it is done, 0 to 1. Where processes are not
    forked it must be one that can be pickled."""

    def __call__(self, *, advanced: Callable[[str, float], object]) -> R:
        """What comes of it."""
        ...


def is_worth_while(arrivals: int) -> bool:
    """Whether a recording of so many calls takes longer than another process costs, and there is
    another core for it."""
    return arrivals > _FEW and (os.cpu_count() or 1) > 1


_FEW = 20_000


class Beside(Generic[T]):
    """One piece of work, begun at once."""

    def __init__(self, work: TellingWork[T], advanced: Callable[[str, float], object]) -> None:
        """``advanced`` is told of its stages whenever somebody calls ``hear``."""
        self._work = work
        self._advanced = advanced
        self._done: list[T] = []
        self._hears, tells = multiprocessing.Pipe(duplex=False)
        self._process = multiprocessing.Process(target=_begin, args=(work, tells), daemon=True)
        self._process.start()
        tells.close()

    def hear(self) -> None:
        """What it has told meanwhile."""
        while not self._done and self._hears.poll():
            try:
                self._take()
            except EOFError:
                return

    def result(self) -> T:
        """What comes of it, waited for; where that process has died it is done here."""
        try:
            while not self._done:
                self._take()
        except EOFError:
            return self._work(advanced=self._advanced)
        self._process.join()
        return self._done[0]

    def _take(self) -> None:
        told: tuple[Any, ...] = self._hears.recv()
        if len(told) == 1:
            self._done.append(told[0])
        else:
            self._advanced(*told)


def _begin(work: TellingWork[Any], tells: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # it has nothing to say when it is broken off
    tells.send((work(advanced=lambda stage, done: tells.send((stage, done))),))
