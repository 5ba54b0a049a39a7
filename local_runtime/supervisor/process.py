"""The supervisor process: starts the workers of one app, restarts them, ends with its parent.

    python -m local_runtime.supervisor APP --workers 2 --dir DIR

Stdout carries WorkerChanged frames, and Retired ones where workers come and go as the Keep frames
of stdin ask (``--kept``), and nothing else; what workers print goes to stderr. The end
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
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from local_runtime.clock import SystemClock
from local_runtime.descriptors import restore_limit
from local_runtime.protocol.events import Standby
from local_runtime.protocol.scale_events import FromSupervisor
from local_runtime.protocol.wire import frame
from local_runtime.supervisor.elastic import ElasticWorker, ElasticWorkers, Report
from local_runtime.supervisor.logs import LogWriter
from local_runtime.supervisor.monitor import Outside, WorkerMonitor
from local_runtime.supervisor.options import add_options, launcher_of, policy_of
from local_runtime.supervisor.orders import Orders
from local_runtime.supervisor.placement import placements, present_devices
from local_runtime.supervisor.spares import spare_launches
from local_runtime.supervisor.worker_process import REAP_S, Launch, WorkerProcess

END_S = 7.0
"""How long workers may take to end: a little longer than they take to drain."""


async def supervise(
    launches: Sequence[Launch], standby: Standby, outside: Outside, ended: asyncio.Event
) -> None:
    """Runs the workers, and the spares that ``standby`` asks for, until ``ended`` is set; then
    ends them all."""
    spares = [WorkerMonitor(launch, outside) for launch in spare_launches(launches, standby)]
    workers = [WorkerMonitor(launch, outside, spares) for launch in launches]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    tasks += [asyncio.create_task(_run_after(spare, workers)) for spare in spares]
    await ended.wait()
    for monitor in (*workers, *spares):
        monitor.ask_to_end()
    await asyncio.wait(tasks, timeout=END_S)
    for monitor in (*workers, *spares):
        monitor.kill()
    await asyncio.wait(tasks, timeout=2 * REAP_S)


async def _run_after(spare: WorkerMonitor, workers: Sequence[WorkerMonitor]) -> None:
    """A spare must not slow down the first start of the workers."""
    for worker in workers:
        await worker.started_once.wait()
    await spare.run()


async def supervise_kept(
    launches: Sequence[Launch], outside: Outside, report: Report, orders: Orders
) -> None:
    """Runs as many of the workers as it is asked to keep, until the order to end."""
    workers = ElasticWorkers(lambda index: ElasticWorker(launches[index], outside, report), END_S)
    orders.obey(workers.keep)
    await orders.ended.wait()
    await workers.end()


def _report(changed: FromSupervisor) -> None:
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), frame(changed))


def _launches(options: argparse.Namespace) -> list[Launch]:
    present = present_devices(os.environ, len(list(Path("/dev").glob("nvidia[0-9]*"))))
    launch = launcher_of(options)
    return [
        launch(
            index=index,
            socket=os.path.join(options.dir, f"worker-{index}.sock"),
            placement=placement,
        )
        for index, placement in enumerate(placements(options.workers, options.device, present))
    ]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local_runtime.supervisor", description=__doc__)
    add_options(parser)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kept", action="store_true", help="they come and go as stdin asks")
    parser.add_argument("--dir", required=True, help="folder for the sockets; removed at the end")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, or several: a,b")
    parser.add_argument("--standby", choices=get_args(Standby), default="none", help="spares")
    return parser.parse_args(arguments)


async def _main(options: argparse.Namespace) -> None:
    writer = LogWriter(sys.stderr.buffer, options.name)
    try:
        outside = Outside(
            policy=policy_of(options),
            clock=SystemClock(),
            jitter=random.random,
            start=partial(WorkerProcess.start, writer=writer),
            report=_report,
            writer=writer,
        )
        launches, orders = _launches(options), Orders()
        if options.kept:
            await supervise_kept(launches, outside, _report, orders)
        else:
            await supervise(launches, options.standby, outside, orders.ended)
    finally:
        writer.close()
        shutil.rmtree(options.dir, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the supervisor until the order to end; its exit status."""
    restore_limit()
    asyncio.run(_main(_arguments(arguments)))
    return 0
