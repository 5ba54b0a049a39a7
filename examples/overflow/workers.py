"""Starting and ending worker processes: how many there should be, and how one is ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

START_LIMIT = 120.0
"""Seconds that a worker may take from its start to its first request for a job."""
CRASH_PAUSE = 5.0
"""Seconds before the next start after a worker that never asked for a job."""
ROOT = Path(__file__).parents[2]


class Scale(msgspec.Struct, kw_only=True):
    """The endpoint's settings, as the management plane shows them."""

    min_workers: int = 0
    max_workers: int = 1
    idle_timeout: float = 30.0


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """What the plan looks at."""

    id: str
    started: float
    ready: bool
    """It has asked for a job."""
    busy: int
    """Jobs on it."""
    used: float
    """When it last ended a job, or became ready."""
    leaving: bool = False


class Plan(msgspec.Struct, frozen=True):
    start: int
    stop: tuple[str, ...]


def plan(
    workers: Sequence[WorkerView], *, waiting: int, scale: Scale, now: float, may_start: bool
) -> Plan:
    """A worker for each job that no idle or starting one will take; idle ones end in time."""
    staying = [worker for worker in workers if not worker.leaving]
    free = sum(not worker.busy for worker in staying)
    wanted = max(scale.min_workers - len(staying), min(waiting, scale.max_workers) - free, 0)
    room = scale.max_workers - len(staying)
    stuck = [w.id for w in staying if not w.ready and now - w.started > START_LIMIT]
    idle = sorted(
        (w.used, w.id)
        for w in staying
        if w.ready and not w.busy and not waiting and now - w.used > scale.idle_timeout
    )
    surplus = max(0, len(staying) - len(stuck) - scale.min_workers)
    stop = (*stuck, *(worker for _, worker in idle[:surplus]))
    return Plan(max(0, min(wanted, room)) if may_start else 0, stop)


class Worker:
    """One worker process, in a process group of its own."""

    def __init__(self, worker_id: str, process: asyncio.subprocess.Process, now: float) -> None:
        self.id = worker_id
        self.process = process
        self.started = now
        self.used = now
        self.ready = False
        self.leaving = False

    def seen(self, now: float) -> None:
        if not self.ready:
            self.ready = True
            self.used = now

    def view(self, busy: int) -> WorkerView:
        return WorkerView(
            id=self.id,
            started=self.started,
            ready=self.ready,
            busy=busy,
            used=self.used,
            leaving=self.leaving,
        )

    def kill(self) -> None:
        """Ends the group: the worker and its heartbeat."""
        self.leaving = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


async def start_worker(module: str, *, url: str, endpoint: str, key: str) -> Worker:
    """Starts ``python -m MODULE`` as RunPod's platform would: told by its environment alone."""
    worker_id = secrets.token_hex(6)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        cwd=ROOT,
        env={**os.environ, **worker_environment(worker_id, url, endpoint, key)},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    return Worker(worker_id, process, time.monotonic())


def worker_environment(worker_id: str, url: str, endpoint: str, key: str) -> dict[str, str]:
    """The SDK fills in ``$ID`` and ``$RUNPOD_POD_ID``, and appends further query parameters."""
    job = f"{endpoint}/$RUNPOD_POD_ID/$ID?gpu=none"
    return {
        "RUNPOD_POD_ID": worker_id,
        "RUNPOD_ENDPOINT_ID": endpoint,
        "RUNPOD_AI_API_KEY": key,
        "RUNPOD_WEBHOOK_GET_JOB": f"{url}/job-take/{endpoint}/{worker_id}?gpu=none",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{url}/job-done/{job}",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{url}/job-stream/{job}",
        "RUNPOD_WEBHOOK_PING": f"{url}/ping/{endpoint}/$RUNPOD_POD_ID?gpu=none",
        "RUNPOD_PING_INTERVAL": "5000",
        "RUNPOD_SKIP_GPU_CHECK": "true",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_DEBUG_LEVEL": "WARN",
    }
