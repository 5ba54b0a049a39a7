"""What a contender is: something that can be put in front of an upstream."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from benchmarks.gateway.accounting import Family, family
from benchmarks.gateway.processes import Child
from benchmarks.gateway.target import Target


class Running:
    """A contender that answers, and the processes that it is made of: without ``child``, none."""

    def __init__(self, *, child: Child | None, target: Target, apart: str | None = None) -> None:
        self.child = child
        self.target = target
        self._apart = apart

    def family(self) -> Family:
        if self.child is None:
            return Family(own=frozenset(), apart=frozenset())
        return family(self.child.pid, apart=self._apart)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()


class Contender(Protocol):
    """``start`` returns once a completion is answered, and raises StartFailed otherwise."""

    @property
    def name(self) -> str:
        """As the table and ``--only`` have it."""
        ...

    @property
    def streams(self) -> bool:
        """Whether it passes the upstream's streams on, so that they are measured."""
        ...

    def start(self, upstream: Target, folder: Path) -> Running:
        """``folder`` is its own, for configuration and logs."""
        ...
