"""The queue and its workers together: what the HTTP routes act on."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine
from typing import Any

from examples.overflow.jobs import JobQueue
from examples.overflow.meter import Meter
from examples.overflow.workers import (
    CRASH_PAUSE,
    Plan,
    Scale,
    Worker,
    plan,
    start_worker,
)

GPU_HOUR = 0.576
"""US dollars that an hour of a worker is said to cost, where nobody says otherwise."""
TICK = 0.25
"""Seconds between two looks at idle workers and old jobs."""


class Platform:
    """One endpoint. ``changed`` wakes everyone who waits for a job to come or to end."""

    def __init__(
        self,
        *,
        url: str,
        endpoint: str,
        module: str,
        scale: Scale,
        queue: JobQueue | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.url = url
        self.endpoint = endpoint
        self.scale = scale
        self.queue = queue or JobQueue()
        self.meter = meter or Meter(GPU_HOUR)
        self.worker_key = secrets.token_hex(16)
        self.workers: dict[str, Worker] = {}
        self.closing = False
        self._module = module
        self._starting = 0
        self._not_before = 0.0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life ------------------------------------------------------------------------------

    def start(self, *, preload: bool) -> None:
        self._spawn(self._look_after())
        if preload:
            self._start_one()

    def hang_up(self) -> None:
        """Ends the workers and every request that is held, so that the server can close."""
        self.closing = True
        for worker in self.workers.values():
            worker.kill()
        self.notify()

    async def aclose(self) -> None:
        self.hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self.workers.values():
            worker.kill()
            await worker.process.wait()

    # --- waiting ---------------------------------------------------------------------------

    def notify(self) -> None:
        """Something changed: whoever waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, until: float) -> bool:
        """Waits for the next change; False once the instant ``until`` has come."""
        remaining = until - time.monotonic()
        if remaining <= 0 or self.closing:
            return False
        try:
            async with asyncio.timeout(remaining):
                await self._changed.wait()
        except TimeoutError:
            return False
        return not self.closing

    # --- workers ---------------------------------------------------------------------------

    def scale_now(self) -> None:
        """Starts and ends workers as the plan says."""
        now = time.monotonic()
        wanted = self._plan(now)
        for _ in range(wanted.start):
            self._start_one()
        for worker_id in wanted.stop:
            self.workers[worker_id].kill()

    def job_ended(self, worker_id: str) -> None:
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.used = time.monotonic()
        self.notify()

    def counts(self) -> dict[str, int]:
        staying = [worker for worker in self.workers.values() if not worker.leaving]
        ready = sum(worker.ready for worker in staying)
        running = sum(self.queue.running_on(worker.id) > 0 for worker in staying)
        return {
            "idle": ready - running,
            "running": running,
            "ready": ready,
            "initializing": len(staying) - ready + self._starting,
            "throttled": 0,
            "unhealthy": 0,
        }

    # --- inside ----------------------------------------------------------------------------

    def _plan(self, now: float) -> Plan:
        return plan(
            [worker.view(self.queue.running_on(worker.id)) for worker in self.workers.values()],
            waiting=self.queue.wakes_workers,
            scale=self.scale,
            now=now,
            may_start=not self.closing and not self._starting and now >= self._not_before,
        )

    def _start_one(self) -> None:
        self._starting += 1
        self._spawn(self._run_worker())

    async def _run_worker(self) -> None:
        """One worker from its start to its end."""
        try:
            worker = await start_worker(
                self._module, url=self.url, endpoint=self.endpoint, key=self.worker_key
            )
            self.workers[worker.id] = worker
        finally:
            self._starting -= 1
        span = self.meter.started(time.time())
        code = await worker.process.wait()
        span.ended = time.time()
        worker.kill()
        del self.workers[worker.id]
        now = time.monotonic()
        if not worker.ready:
            self._not_before = now + CRASH_PAUSE
        self.queue.worker_gone(worker.id, f"the worker ended with status {code}", now)
        self.notify()
        self.scale_now()

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.queue.sweep(time.monotonic())
            self.scale_now()
            self.notify()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
