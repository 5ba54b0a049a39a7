"""What runs on a machine of a Ray cluster: an actor with one worker process below it.

The worker is the very one that a supervisor on the gateway's machine would start; it dies with
the actor (see ``lifeline``), and the actor with whoever owns it, which is Ray's own rule for actors
that are not detached (https://docs.ray.io/en/latest/ray-core/fault_tolerance/actors.html).
"""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from local_runtime.protocol.events import LifeSign
from local_runtime.protocol.sockets import TOKEN
from local_runtime.supervisor.logs import LogWriter
from local_runtime.supervisor.worker_process import Launch, WorkerProcess

POLL_S = 5.0
"""The longest that ``poll`` waits for something to report."""
THREADS = 4
"""Calls of the actor's methods at once: one of them waits nearly all the time."""


class HostedWorker(msgspec.Struct, frozen=True):
    """A worker process that was started, and where it takes connections once it is ready."""

    pid: int
    host: str
    port: int


class Ended(msgspec.Struct, frozen=True):
    """The worker process is gone."""

    status: int
    last_line: str


WorkerReport = LifeSign | Ended
"""What a worker says, or that it is gone."""


class HostedProcess:
    """The worker process, on the loop of the thread that looks after it."""

    def __init__(self, report: Callable[[WorkerReport], None]) -> None:
        self._report = report
        self.process: WorkerProcess | None = None

    async def begin(self, launch: Launch, node: str) -> HostedWorker:
        """Starts it with a listening socket of the address ``node``. Raises OSError."""
        family = socket.AF_INET6 if ":" in node else socket.AF_INET
        with socket.create_server((node, 0), family=family) as listener:
            number = listener.fileno()
            placed = msgspec.structs.replace(launch, socket=f"fd:{number}", listener=number)
            self.process = process = await WorkerProcess.start(placed, LogWriter(sys.stderr.buffer))
            port: int = listener.getsockname()[1]
        process.listener = self._report
        self._watching = asyncio.create_task(self._watch(process))
        return HostedWorker(process.pid, node, port)

    async def _watch(self, process: WorkerProcess) -> None:
        status = await process.ended()
        self._report(Ended(status, process.last_line))


class WorkerHost:
    """The actor. Its methods are called from several threads at once, which Ray does only where
    none of them is async; the process lives on a loop in a thread of its own."""

    def __init__(self, node: str, token: str) -> None:
        """``node``: the address of this machine in its cluster."""
        os.environ[TOKEN] = token
        os.environ["PYTHONPATH"] = _import_path()
        self._node = node
        self._reports: queue.SimpleQueue[WorkerReport] = queue.SimpleQueue()
        self._hosted = HostedProcess(self._reports.put)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="worker", daemon=True).start()

    def begin(self, launch: Launch) -> HostedWorker:
        """Starts the worker. Raises OSError."""
        starting = self._hosted.begin(launch, self._node)
        return asyncio.run_coroutine_threadsafe(starting, self._loop).result()

    def poll(self) -> list[WorkerReport]:
        """What the worker has said since the last time; waits a little for the first of it."""
        try:
            reports = [self._reports.get(timeout=POLL_S)]
        except queue.Empty:
            return []
        while not self._reports.empty():
            reports.append(self._reports.get())
        return reports

    def ask_to_end(self) -> None:
        """Lets the worker's calls end, then the worker."""
        if self._hosted.process is not None:
            self._loop.call_soon_threadsafe(self._hosted.process.ask_to_end)

    def kill(self) -> None:
        """Ends the worker and all that it has started."""
        if self._hosted.process is not None:
            self._hosted.process.kill()


def _import_path() -> str:
    """Lets the worker import this very runtime, where Ray has brought it along."""
    here = str(Path(__file__).parents[2])
    given = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join(dict.fromkeys([*given.split(os.pathsep), here])).strip(os.pathsep)
