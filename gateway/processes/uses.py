"""The calls of all processes at backends where each must know of the others'. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from gateway.backends.use_in_all import NONE, BackendUse
from gateway.processes.messages import UsedByOthers

_GONE = 0
"""The number of all processes together that have ended."""


class UsesOfAll:
    """By backend and by the number of the process."""

    def __init__(self) -> None:
        self._uses: defaultdict[str, dict[int, BackendUse]] = defaultdict(dict)

    def begin(self, process: int) -> Iterator[UsedByOthers]:
        """What a process must know that starts."""
        for backend in self._uses:
            yield UsedByOthers(backend, self._others(backend, process), first=True)

    def hear(
        self, process: int, backend: str, use: BackendUse, processes: Iterable[int]
    ) -> Iterator[tuple[int, UsedByOthers]]:
        """A process has told of itself; what each of the others is to be told."""
        self._uses[backend][process] = use
        for other in processes:
            if other != process:
                yield other, UsedByOthers(backend, self._others(backend, other))

    def end(self, process: int, processes: Iterable[int]) -> Iterator[tuple[int, UsedByOthers]]:
        """A process is gone, and its calls with it; what has ended before stays counted."""
        remaining = tuple(processes)
        for backend, uses in self._uses.items():
            left = uses.pop(process, NONE)
            ended = msgspec.structs.replace(left, calls=0, pings=0)
            uses[_GONE] = uses.get(_GONE, NONE) + ended
            if left.calls or left.pings:
                for other in remaining:
                    yield other, UsedByOthers(backend, self._others(backend, other))

    def _others(self, backend: str, process: int) -> BackendUse:
        found = (use for number, use in self._uses[backend].items() if number != process)
        return sum(found, NONE)
