"""Looks after one worker, or one spare, in the supervisor's process: the loop around the record
of ``lifecycle.py``."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from local_runtime.clock import Clock
from local_runtime.protocol.events import Broken, Heartbeat, LifeSign, Ready, Standby, WorkerChanged
from local_runtime.supervisor.lifecycle import RestartPolicy, WorkerRecord, WorkerState, why_killed
from local_runtime.supervisor.logs import LogWriter
from local_runtime.supervisor.worker_process import Launch, SignListener, exit_words

TICK_S = 0.5
"""Seconds between two looks at a worker's silence."""


class Process(Protocol):
    """What ``WorkerProcess`` is, to its monitor; see there for what each means."""

    listener: SignListener

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def last_line(self) -> str:
        """The last thing it printed; empty where that is nothing."""
        ...

    def promote(self, launch: Launch) -> None:
        """Makes a spare that waits the worker of ``launch``."""
        ...

    async def ended(self) -> int:
        """Waits for its end; the exit status, negative for a signal."""
        ...

    def ask_to_end(self) -> None:
        """Lets calls under way end, then exit."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """What a monitor does not decide."""

    policy: RestartPolicy
    clock: Clock
    jitter: Callable[[], float]
    """In [0, 1), another one for each pause."""
    start: Callable[[Launch], Awaitable[Process]]
    """Starts a process. Raises OSError."""
    report: Callable[[WorkerChanged], None]
    writer: LogWriter


class WorkerMonitor:
    """One worker for as long as the supervisor lives. ``spares`` are asked for a process before
    another is started. Made on the loop that it runs on."""

    def __init__(
        self, launch: Launch, outside: Outside, spares: Sequence[WorkerMonitor] = ()
    ) -> None:
        self.started_once = asyncio.Event()
        """Set when its first start has ended, well or not."""
        self._launch = launch
        self._outside = outside
        self._policy = outside.policy
        self._now = outside.clock.monotonic
        self._spares = spares
        self._record = WorkerRecord(index=launch.index)
        self._standby: Standby = "none"
        self._broken: Broken | None = None
        self._process: Process | None = None
        self._promoted: asyncio.Future[None]
        self._ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Starts the worker whenever it is due; returns when it never will be again."""
        while (due := self._record.retry_at) is not None:
            await self._first_within(due - self._now(), self._ending)
            if self._ending.done():
                return
            await self._run_once()

    def take_over(self, launch: Launch) -> Process | None:
        """Makes a spare's process that of the worker of ``launch``; None when there is none that
        fits. Another spare is started a little later."""
        process = self._process
        if process is None or self._record.state is not WorkerState.WAITING:
            return None
        if not launch.fits(self._launch):
            return None
        self._process = None
        self._promoted.set_result(None)
        process.promote(launch)
        self._update(self._record.promoted(self._now(), self._policy))
        return process

    def ask_to_end(self) -> None:
        """Lets the worker finish what runs. No other is started."""
        if not self._ending.done():
            self._ending.set_result(None)
        self.started_once.set()
        if self._process is not None:
            self._process.ask_to_end()

    def kill(self) -> None:
        """Ends its process, if there is one, at once."""
        if self._process is not None:
            self._process.kill()

    async def _first_within(self, seconds: float, *futures: asyncio.Future[Any]) -> None:
        """Waits for the first of ``futures``, at most so long."""
        sleeping = asyncio.ensure_future(self._outside.clock.sleep(max(0.0, seconds)))
        try:
            await asyncio.wait({sleeping, *futures}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()

    async def _run_once(self) -> None:
        self._broken = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._launch.socket)
        try:
            process = self._from_spares() or await self._from_scratch()
        except OSError as error:
            self._update(self._record.started(self._now(), 0))
            self._mark_defunct(f"it could not be started: {error}")
            return
        process.listener = self._on_sign
        self._process, self._promoted = process, asyncio.get_running_loop().create_future()
        self._update(self._record.started(self._now(), process.pid))
        if self._ending.done():
            process.ask_to_end()
        detail = await self._watch(process)
        if detail is not None:
            self._process = None
            self._mark_defunct(detail)

    def _from_spares(self) -> Process | None:
        for spare in self._spares:
            if (process := spare.take_over(self._launch)) is not None:
                self._standby = spare._launch.standby
                return process
        return None

    async def _from_scratch(self) -> Process:
        self._standby = "none"
        return await self._outside.start(self._launch)

    async def _watch(self, process: Process) -> str | None:
        """Waits for the end of a process; why it is gone. None: it is another's now."""
        ending = asyncio.create_task(process.ended())
        killed = ""
        while not ending.done():
            left = self._record.kill_at(self._policy) - self._now()
            await self._first_within(min(TICK_S, left), ending, self._promoted)
            if self._promoted.done():
                ending.cancel()
                return None
            if left <= 0 and not killed:
                killed = why_killed(self._record, self._policy)
                process.kill()
                await ending
        return killed or self._words(process, ending.result())

    def _on_sign(self, sign: LifeSign) -> None:
        now = self._now()
        if isinstance(sign, Ready):
            self._update(self._record.became_ready(now))
        elif isinstance(sign, Heartbeat):
            self._record = self._record.beat(now, sign.running)
        elif isinstance(sign, Broken):
            self._broken = sign
        else:
            self._update(self._record.waits(now))

    def _words(self, process: Process, status: int) -> str:
        if self._broken is not None:
            return self._broken.message
        before = " before it was ready" if self._record.state is WorkerState.STARTING else ""
        return f"it {exit_words(status, before, process.last_line)}"

    def _mark_defunct(self, detail: str) -> None:
        permanent = self._broken is not None and self._broken.permanent
        record = self._record.ended(
            self._now(),
            self._policy,
            detail=detail,
            permanent=permanent,
            jitter=self._outside.jitter(),
        )
        if not self._ending.done():
            self._outside.writer.write(f"[{self._launch.name}] defunct: {detail}".encode())
        self._update(record)

    def _update(self, record: WorkerRecord) -> None:
        self._record = record
        retry = None if record.retry_at is None else record.retry_at - record.since
        ready = record.state is WorkerState.READY
        if ready or record.state is WorkerState.DEFUNCT:
            self.started_once.set()
        self._outside.report(
            WorkerChanged(
                index=record.index,
                state=record.state.value,
                pid=record.pid,
                path=self._launch.socket if ready else "",
                detail=record.detail,
                retry_s=retry if record.state is WorkerState.DEFUNCT else None,
                spare=self._launch.standby != "none",
                standby=self._standby,
            )
        )
