"""What a contender is: something that can be put in front of an upstream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from benchmarks.gateway.accounting import Family, family
from benchmarks.gateway.processes import Child
from benchmarks.gateway.target import Target


class Running:
    """A contender that answers, and the processes that it is made of: without ``child``, none.
    ``apart`` is a word in the command line of those that are counted for themselves, ``beside`` are
    others of that sort, with their children; ``ended`` is called once it has ended."""

    def __init__(
        self,
        *,
        child: Child | None,
        target: Target,
        apart: str | None = None,
        beside: tuple[int, ...] = (),
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.child = child
        self.target = target
        self._apart = apart
        self._beside = beside
        self._ended = ended

    def family(self) -> Family:
        if self.child is None:
            return Family(own=frozenset(), apart=frozenset())
        found = family(self.child.pid, apart=self._apart)
        others = frozenset[int]().union(*(family(pid).own for pid in self._beside))
        return Family(own=found.own, apart=found.apart | others)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()
        self._ended()


class Contender(Protocol):
    """``start`` returns once a completion is answered, and raises StartFailed otherwise, Missing
    where there is nothing to start."""

    @property
    def name(self) -> str:
        """As the table and ``--only`` have it."""
        ...

    @property
    def streams(self) -> bool:
        """Whether it passes the upstream's streams on, so that they are measured."""
        ...

    @property
    def large(self) -> bool:
        """Whether large bodies and answers are measured."""
        ...

    def start(self, upstream: Target, folder: Path) -> Running:
        """``folder`` is its own, for configuration and logs."""
        ...
