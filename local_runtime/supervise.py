"""The supervisor process: starts the workers of one app, restarts them, ends with its parent.

    python -m local_runtime.supervise APP --workers 2 --dir DIR

Stdout carries WorkerChanged frames and nothing else; what workers print goes to stderr. The end
of stdin is the order to end the workers and exit, so nothing outlives the gateway, even when that
is killed. Imports no model code: it stays small and always answers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence

from local_runtime.child import GRACE_S, Child, Launch, exit_words
from local_runtime.events import Broken, Heartbeat, LifeSign, Ready, WorkerChanged
from local_runtime.logs import LogWriter
from local_runtime.supervisor import Policy, Record, State, why_killed
from local_runtime.wire import MAX_FRAME, frame

TICK_S = 0.5
"""How often a worker's silence is looked at."""
END_S = 7.0
"""How long workers may take to end: a little longer than they take to drain."""
REAP_S = 1.0

Report = Callable[[WorkerChanged], None]


class Tender:
    """Looks after one worker for as long as the supervisor lives."""

    def __init__(self, launch: Launch, policy: Policy, report: Report, writer: LogWriter) -> None:
        self._launch = launch
        self._policy = policy
        self._report = report
        self._writer = writer
        self._record = Record(index=launch.index)
        self._broken: Broken | None = None
        self._child: Child | None = None
        self._ending = asyncio.Event()

    async def tend(self) -> None:
        """Starts the worker whenever it is due; returns when it never will be again."""
        while (due := self._record.retry_at) is not None:
            if await self._ending_within(due - time.monotonic()):
                return
            await self._one_life()

    def ask_to_end(self) -> None:
        """Lets the worker finish what runs. No other is started."""
        self._ending.set()
        if self._child is not None:
            self._child.ask_to_end()

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    async def _ending_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), max(0.0, seconds))
        return self._ending.is_set()

    async def _one_life(self) -> None:
        self._broken = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._launch.socket)
        try:
            self._child = await Child.start(self._launch)
        except OSError as error:
            self._note(self._record.started(time.monotonic(), 0))
            self._bury(f"it could not be started: {error}")
            return
        self._note(self._record.started(time.monotonic(), self._child.pid))
        if self._ending.is_set():
            self._child.ask_to_end()
        detail = await self._watch(self._child)
        self._child = None
        self._bury(detail)

    async def _watch(self, child: Child) -> str:
        """Hears the worker out until it is gone; why it is."""
        mark = b"[worker %d] " % self._launch.index
        pipes = [
            asyncio.create_task(self._listen(child)),
            asyncio.create_task(child.pass_logs(self._writer, mark)),
        ]
        exiting = asyncio.create_task(child.exited())
        killed = await self._until_exit(child, exiting)
        _, late = await asyncio.wait(pipes, timeout=REAP_S)
        for task in late:
            task.cancel()
        return killed or self._words(child, exiting.result())

    async def _until_exit(self, child: Child, exiting: asyncio.Task[int]) -> str:
        """Waits for the end of the process; the reason when it had to be killed."""
        while True:
            left = self._record.kill_at(self._policy) - time.monotonic()
            await asyncio.wait({exiting}, timeout=min(TICK_S, max(0.0, left)))
            if exiting.done():
                return ""
            if left <= 0:
                child.kill()
                await exiting
                return why_killed(self._record, self._policy)

    async def _listen(self, child: Child) -> None:
        async for sign in child.life_signs():
            self._hear(sign)

    def _hear(self, sign: LifeSign) -> None:
        now = time.monotonic()
        if isinstance(sign, Ready):
            self._note(self._record.became_ready(now))
        elif isinstance(sign, Heartbeat):
            self._record = self._record.beat(now, sign.running)
        else:
            self._broken = sign

    def _words(self, child: Child, status: int) -> str:
        if self._broken is not None:
            return self._broken.message
        words = f"it {exit_words(status)}"
        if self._record.state is State.STARTING:
            words += " before it was ready"
        return f"{words}; its last line: {child.last_line}" if child.last_line else words

    def _bury(self, detail: str) -> None:
        permanent = self._broken is not None and self._broken.permanent
        record = self._record.ended(
            time.monotonic(),
            self._policy,
            detail=detail,
            permanent=permanent,
            jitter=random.random(),
        )
        if not self._ending.is_set():
            self._writer.write(f"[worker {record.index}] defunct: {detail}".encode())
        self._note(record)

    def _note(self, record: Record) -> None:
        self._record = record
        retry = None if record.retry_at is None else record.retry_at - record.since
        ready = record.state is State.READY
        self._report(
            WorkerChanged(
                index=record.index,
                state=record.state.value,
                pid=record.pid,
                path=self._launch.socket if ready else "",
                detail=record.detail,
                retry_s=retry if record.state is State.DEFUNCT else None,
            )
        )


async def supervise(
    launches: Sequence[Launch], policy: Policy, writer: LogWriter, ended: asyncio.Event
) -> None:
    """Runs the workers until ``ended`` is set, then ends them all."""
    tenders = [Tender(launch, policy, _report, writer) for launch in launches]
    tasks = [asyncio.create_task(tender.tend()) for tender in tenders]
    await ended.wait()
    for tender in tenders:
        tender.ask_to_end()
    await asyncio.wait(tasks, timeout=END_S)
    for tender in tenders:
        tender.kill()
    await asyncio.wait(tasks, timeout=2 * REAP_S)


def _report(changed: WorkerChanged) -> None:
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), frame(changed))


def _order_to_end() -> asyncio.Event:
    """Set when stdin ends or a signal asks for it."""
    loop, ended, stdin = asyncio.get_running_loop(), asyncio.Event(), sys.stdin.fileno()

    def read() -> None:
        if not os.read(stdin, 1024):
            loop.remove_reader(stdin)
            ended.set()

    loop.add_reader(stdin, read)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    return ended


def _launches(options: argparse.Namespace) -> list[Launch]:
    devices = options.device.split(",")
    return [
        Launch(
            app=options.app,
            index=index,
            socket=os.path.join(options.dir, f"worker-{index}.sock"),
            device=devices[index % len(devices)].strip(),
            threads=options.threads,
            grace_s=options.grace,
            max_frame=options.max_frame,
        )
        for index in range(options.workers)
    ]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local_runtime.supervise", description=__doc__)
    parser.add_argument("app", help="folder/file.py:app or package.module:app")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--dir", required=True, help="folder for the sockets; removed at the end")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, or several: a,b")
    parser.add_argument("--threads", type=int, help="CPU threads of each worker's model")
    parser.add_argument("--start-timeout", type=float, default=Policy().start_timeout_s)
    parser.add_argument("--silence", type=float, default=Policy().silence_s)
    parser.add_argument("--grace", type=float, default=GRACE_S)
    parser.add_argument("--max-frame", type=int, default=MAX_FRAME)
    return parser.parse_args(arguments)


async def _main(options: argparse.Namespace) -> None:
    policy = Policy(start_timeout_s=options.start_timeout, silence_s=options.silence)
    writer = LogWriter(sys.stderr.buffer)
    try:
        await supervise(_launches(options), policy, writer, _order_to_end())
    finally:
        writer.close()
        shutil.rmtree(options.dir, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    asyncio.run(_main(_arguments(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
