"""The jobs that wait in the store, for whoever plans the workers that will run them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from gateway.clock import Clock
from gateway.planning.coming import JobsInLine
from gateway.storage.base import StorageUnavailable
from gateway.storage.jobs.base import JobStore
from gateway.tasks import BackgroundTasks

_EVERY_S = 2.0
_TIMES = 20.0
"""The store is at rest for so many times as long as it took to count them."""


class JobLine:
    """Of one gateway. Nothing is counted before somebody asks."""

    def __init__(
        self,
        store: JobStore,
        full: Callable[[], Collection[str]],
        clock: Clock,
        tasks: BackgroundTasks,
    ) -> None:
        """``full``: keys whose jobs have to wait, so that no worker helps them; ``tasks``: in which
        they are counted."""
        self._store = store
        self._full = full
        self._clock = clock
        self._known: Sequence[JobsInLine] = ()
        self._ask_at = 0.0
        self._tasks = tasks

    def waiting(self) -> Sequence[JobsInLine]:
        """Those that may begin, as they were counted a moment ago; none while the store does not
        answer, for none is taken then either."""
        if self._clock.monotonic() >= self._ask_at:
            self._ask_at = float("inf")
            self._tasks.run(self._count())
        return self._known

    async def _count(self) -> None:
        began = self._clock.monotonic()
        try:
            found = await self._store.waiting(self._full())
            self._known = [JobsInLine(one.model, one.jobs, one.deadline, one.last) for one in found]
        except StorageUnavailable:
            self._known = ()
        finally:
            now = self._clock.monotonic()
            self._ask_at = now + max(_EVERY_S, _TIMES * (now - began))
