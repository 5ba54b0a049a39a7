"""The supervisor process of workers that are Ray actors, on whatever machines Ray has.

    python -m local_runtime.ray APP --address auto --gpus 1

It owns the actors and is not on the data path. Stdin carries ``Keep`` frames, and its end is the
order to end the workers and exit; stdout carries WorkerChanged and Retired frames and nothing else.
Should it be killed, Ray ends its actors, and each takes its worker along.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from local_runtime.clock import Clock, SystemClock
from local_runtime.descriptors import restore_limit
from local_runtime.protocol.events import WorkerChanged
from local_runtime.protocol.scale_events import FromSupervisor
from local_runtime.protocol.wire import frame
from local_runtime.supervisor.elastic import ElasticWorker, ElasticWorkers, Report
from local_runtime.supervisor.logs import LogWriter
from local_runtime.supervisor.monitor import Outside, Process
from local_runtime.supervisor.options import add_options, launcher_of, policy_of
from local_runtime.supervisor.orders import Orders
from local_runtime.supervisor.placement import Placement
from local_runtime.supervisor.worker_process import Launch

if TYPE_CHECKING:
    from local_runtime.ray.cluster import Cluster

END_S = 6.0
"""How long workers may take to end: a little longer than they take to drain."""
RETRY_S = 1.0
"""Before a cluster that cannot be reached is tried again; doubled up to a minute."""


class AddressedProcess(Process, Protocol):
    """A process that is reached by an address of its own."""

    address: str


class RayWorker(ElasticWorker):
    """One worker: its monitor, and what is known of its process. ``outside.start`` places it in the
    cluster, ``report`` is called with each change, ``needs`` says in words what its machine must
    have."""

    def __init__(self, launch: Launch, outside: Outside, report: Report, needs: str) -> None:
        self._needs = needs
        self._process: AddressedProcess | None = None
        self._start_actor = outside.start
        super().__init__(launch, msgspec.structs.replace(outside, start=self._start), report)

    async def _start(self, launch: Launch) -> Process:
        """Waits for a place, which may never be found, until the worker is dismissed."""
        detail = f"waits for a place in the Ray cluster: it needs {self._needs}"
        self._report(WorkerChanged(launch.index, "new", detail=detail))
        placing = asyncio.ensure_future(self._start_actor(launch))
        leaving = asyncio.ensure_future(self._dismissed.wait())
        try:
            await asyncio.wait({placing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if not placing.done():
            placing.cancel()
            raise OSError("it was dismissed")
        self._process = placing.result()  # type: ignore[assignment]
        assert self._process is not None
        return self._process

    def _report_change(self, changed: WorkerChanged) -> None:
        if changed.state == "ready" and self._process is not None:
            changed = msgspec.structs.replace(changed, path=self._process.address)
        super()._report_change(changed)


class WorkerSet(ElasticWorkers):
    """The workers that should exist. ``launch`` says how each is started, ``needs`` in words what
    its machine must have."""

    def __init__(
        self, launch: Callable[[int], Launch], outside: Outside, report: Report, needs: str
    ) -> None:
        super().__init__(lambda index: RayWorker(launch(index), outside, report, needs), END_S)


async def join(connect: Callable[[], Awaitable[None]], report: Report, clock: Clock) -> None:
    """Connects to the cluster, again and again until it is there, and reports why it is not."""
    pause = RETRY_S
    while True:
        try:
            return await connect()
        except Exception as error:  # Ray raises many sorts
            detail = f"the Ray cluster cannot be reached: {error}".splitlines()[0]
            report(WorkerChanged(0, "defunct", detail=detail, retry_s=pause))
        await clock.sleep(pause)
        pause = min(60.0, pause * 2)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local_runtime.ray")
    add_options(parser)
    parser.add_argument("--dir", help="folder for sockets; not used between machines")
    parser.add_argument("--address", default="auto", help="auto, or host:port of the head")
    parser.add_argument("--cpus", type=float, default=1.0, help="of each worker")
    parser.add_argument("--gpus", type=float, default=1.0, help="of each worker")
    parser.add_argument("--working-dir", help="folder that Ray brings to the machines")
    parser.add_argument("--device", default="auto", help="auto or cpu")
    return parser.parse_args(arguments)


def absolute(app: str) -> str:
    """The app's name as machines that share this one's folders know it."""
    source, colon, attribute = app.rpartition(":")
    return f"{os.path.abspath(source)}{colon}{attribute}" if source.endswith(".py") else app


def _launch(options: argparse.Namespace, index: int) -> Launch:
    """Ray says which GPUs a worker sees; one without any must not see those of its machine."""
    return launcher_of(options)(
        app=options.app if options.working_dir else absolute(options.app),
        index=index,
        placement=Placement(device=options.device, visible=None if options.gpus else ""),
    )


async def serve(options: argparse.Namespace, report: Report) -> None:
    """Keeps the workers that stdin asks for, until its end."""
    orders = Orders()
    cluster = await _join(options, report, orders.ended)
    if cluster is None:
        return
    writer = LogWriter(sys.stderr.buffer, options.name)
    outside = Outside(
        policy=policy_of(options),
        clock=SystemClock(),
        jitter=random.random,
        start=cluster.start,
        report=report,
        writer=writer,
    )
    workers = WorkerSet(partial(_launch, options), outside, report, cluster.needs.words)
    orders.obey(workers.keep)
    await orders.ended.wait()
    await workers.end()
    cluster.close()
    writer.close()


async def _join(
    options: argparse.Namespace, report: Report, ended: asyncio.Event
) -> Cluster | None:
    """The cluster, once it is there; None when the order to end came before."""
    try:
        cluster = _cluster(options)
    except ImportError as error:
        detail = f"Ray is not installed with this gateway ({error}): pip install 'spillgate[ray]'"
        report(WorkerChanged(0, "defunct", detail=detail))
        await ended.wait()
        return None
    connect = partial(asyncio.to_thread, cluster.connect)
    joining = asyncio.create_task(join(connect, report, SystemClock()))
    ending = asyncio.create_task(ended.wait())
    await asyncio.wait({joining, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not joining.done():
        os._exit(0)  # a thread that waits for a cluster cannot be stopped, and owns nothing
    return cluster


def _cluster(options: argparse.Namespace) -> Cluster:
    """Raises ImportError where there is no Ray."""
    from local_runtime.ray.cluster import Cluster, ClusterNeeds

    needs = ClusterNeeds(
        address=options.address,
        namespace=f"spillgate-{secrets.token_hex(8)}",
        cpus=options.cpus,
        gpus=options.gpus,
        working_dir=options.working_dir,
    )
    return Cluster(needs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the supervisor until the order to end, and exits."""
    restore_limit()
    options = _arguments(arguments)
    frames = os.dup(1)
    os.dup2(2, 1)  # Ray prints

    def report(changed: FromSupervisor) -> None:
        try:
            os.write(frames, frame(changed))
        except OSError:
            return

    asyncio.run(serve(options, report))
    sys.stderr.flush()
    os._exit(0)  # Ray waits half a second at the interpreter's exit, when it has nothing to do
