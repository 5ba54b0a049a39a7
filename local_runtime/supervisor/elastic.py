"""Workers that come and go as ``Keep`` frames ask, in the supervisor's process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from local_runtime.background import TaskSet
from local_runtime.protocol.events import WorkerChanged
from local_runtime.protocol.scale_events import FromSupervisor, Keep, Retired
from local_runtime.supervisor.monitor import Outside, WorkerMonitor
from local_runtime.supervisor.worker_process import REAP_S, Launch

Report = Callable[[FromSupervisor], None]


class ElasticWorker:
    """One worker, from when it is asked for until it is dismissed and gone. ``report`` is called
    with each change."""

    def __init__(self, launch: Launch, outside: Outside, report: Report) -> None:
        self._launch = launch
        self._report = report
        self._dismissed = asyncio.Event()
        own = msgspec.structs.replace(outside, report=self._report_change)
        self._monitor = WorkerMonitor(launch, own)

    async def run(self) -> None:
        """Keeps the worker running until it is dismissed and gone."""
        await self._monitor.run()
        await self._dismissed.wait()  # one that is not started again stays known as that
        self._report(Retired(self._launch.index))

    def dismiss(self) -> None:
        """Lets the worker finish what runs; no other is started."""
        self._monitor.ask_to_end()
        self._dismissed.set()

    def kill(self) -> None:
        """Ends its process, if there is one, at once."""
        self._monitor.kill()

    def _report_change(self, changed: WorkerChanged) -> None:
        if self._dismissed.is_set() and changed.state == "defunct":
            return  # as it was asked to; Retired says so
        self._report(changed)


class ElasticWorkers:
    """The workers that should exist. ``make`` makes each, by its number."""

    def __init__(self, make: Callable[[int], ElasticWorker], end_s: float) -> None:
        """``end_s``: how long they may take to end."""
        self._make = make
        self._end_s = end_s
        self._workers: dict[int, ElasticWorker] = {}
        self._tasks = TaskSet()

    def keep(self, keep: Keep) -> None:
        """Starts those that are missing, dismisses those that are too many."""
        for index in sorted(set(keep.workers) - set(self._workers)):
            worker = self._workers[index] = self._make(index)
            self._tasks.start(worker.run())
        for index in set(self._workers) - set(keep.workers):
            self._workers.pop(index).dismiss()

    async def end(self) -> None:
        """Dismisses all, and kills those that are late."""
        workers = list(self._workers.values())
        self.keep(Keep(()))
        await self._tasks.wait(self._end_s)
        for worker in workers:
            worker.kill()
        await self._tasks.wait(2 * REAP_S)
