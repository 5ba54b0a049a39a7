"""What is known of an app's workers: who starts, who is ready, who is dead, and how long until one
is ready. Pure: events and ``now`` in, words and seconds out."""

from __future__ import annotations

from collections.abc import Mapping

from local_runtime.client.start_times import still_to_come, waited_for
from local_runtime.protocol.events import WorkerChanged


class WorkerStates:
    """The last state of each worker and each spare, by number. All instants, in seconds, are on the
    scale of ``now``, at which nothing is known yet."""

    def __init__(self, now: float) -> None:
        self.start_stages: Mapping[str, float] = {}
        """Seconds of each stage of the last start that was seen; empty before."""
        self._workers: dict[int, WorkerChanged] = {}
        self._spares: dict[int, WorkerChanged] = {}
        self._since: dict[int, float] = {}
        """When each worker came into its state, or could no longer be reached in it."""
        self._unreachable: dict[int, str] = {}
        """Why there is no connection to a worker that should be ready."""
        self._none_since = now
        """When there was last a worker that was known."""
        self._last_death = ""
        """Why the worker that died last did: it may be started again at once."""
        self._failed_starts: dict[int, int] = {}
        """Starts of each worker in a row that came to nothing."""

    @property
    def known(self) -> frozenset[int]:
        """The numbers of the workers."""
        return frozenset(self._workers)

    @property
    def starting(self) -> int:
        """Workers whose start goes on."""
        return sum(state.state == "starting" for state in self._workers.values())

    @property
    def spares(self) -> int:
        """Spares that wait to take a worker's place."""
        return sum(state.state == "waiting" for state in self._spares.values())

    @property
    def hopeless(self) -> bool:
        """No worker runs, and none will be started again."""
        states = self._workers.values()
        return bool(states) and all(
            state.state == "defunct" and state.retry_s is None for state in states
        )

    @property
    def failed_starts(self) -> int:
        """How many starts in a row came to nothing for every worker; 0 where one last did not."""
        return min((self._failed_starts.get(index, 0) for index in self._workers), default=0)

    @property
    def detail(self) -> str:
        """Why there are fewer workers than there should be, in one line; empty where nothing says
        so."""
        for state in self._workers.values():
            if state.state == "defunct":
                again = "" if state.retry_s is not None else "; it is not started again"
                return f"worker {state.index}: {state.detail}{again}"
            if state.state == "new" and state.detail:
                return f"worker {state.index} {state.detail}"
        for index, why in self._unreachable.items():
            return f"worker {index}: {why}"
        if self.starting:
            after = f"; {self._last_death}" if self._last_death else ""
            return f"{self.starting} starting{after}"
        return ""

    def is_current(self, event: WorkerChanged) -> bool:
        """Nothing was heard of the worker since ``event``."""
        return self._workers.get(event.index) == event

    def why_unreachable(self, index: int) -> str | None:
        """Why there is no connection to a worker that should be ready; None while there is one."""
        return self._unreachable.get(index)

    def change(self, event: WorkerChanged, now: float) -> None:
        """A worker or a spare came into another state."""
        if event.spare:
            self._spares[event.index] = event
            return
        before = self._workers.get(event.index)
        if event.state == "ready":
            self._failed_starts.pop(event.index, None)
        elif event.state == "defunct" and before is not None and before.state == "starting":
            self._failed_starts[event.index] = self._failed_starts.get(event.index, 0) + 1
        self._workers[event.index] = event
        self._since[event.index] = now
        self._unreachable.pop(event.index, None)
        if event.state == "defunct":
            self._last_death = f"worker {event.index}: {event.detail}"

    def forget(self, index: int, now: float) -> None:
        """A worker is gone for good."""
        self._workers.pop(index, None)
        self._since.pop(index, None)
        self._unreachable.pop(index, None)
        self._failed_starts.pop(index, None)
        self._none_since = now

    def none_until(self, now: float) -> None:
        """Until now there should have been none: what starts begins now."""
        self._none_since = now

    def forget_all(self, now: float) -> None:
        """All workers and spares are gone."""
        self._spares.clear()
        for index in self.known:
            self.forget(index, now)

    def mark_unreachable(self, index: int, why: str, now: float) -> None:
        """There is no connection to a worker that should be ready."""
        if index not in self._unreachable:
            self._since[index] = now
        self._unreachable[index] = why

    def mark_reachable(self, index: int) -> None:
        """There is one again."""
        self._unreachable.pop(index, None)

    def ready_in(self, now: float) -> float | None:
        """Seconds until a worker should be ready, by the last start that was seen; 0 when one is;
        None when none will be without another policy."""
        if self.hopeless:
            return None
        if not self._workers:
            return still_to_come(waited_for(self.start_stages, "none"), now - self._none_since)
        waits = [self._ready_in(state, now) for state in self._workers.values()]
        known = [wait for wait in waits if wait is not None]
        return min(known, default=waited_for(self.start_stages, "none"))

    def _ready_in(self, state: WorkerChanged, now: float) -> float | None:
        if state.state == "ready" and state.index not in self._unreachable:
            return 0.0
        if state.state == "defunct" and state.retry_s is None:
            return None
        expected = waited_for(self.start_stages, state.standby) + (state.retry_s or 0.0)
        return still_to_come(expected, now - self._since[state.index])
