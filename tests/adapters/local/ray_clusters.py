"""A Ray cluster of several nodes on this machine, and backends on it, for the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.local.backend import Local
from adapters.local.ray_settings import RayWorkers, Replicas
from adapters.local.settings import LocalSettings
from gateway.clock import SystemClock
from tests.adapters.local.backends import PROGRAMS, alive, command_of
from tests.live import ROOT
from tests.waiting import until


class RayCluster:
    """Speaks with ``tests.programs.cluster``; ``folder`` is where that keeps its session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = (folder / "cluster.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.programs.cluster", str(folder)],
            cwd=ROOT,
            # Where Ray notes its newest cluster, which must not be a folder that others share.
            env={**os.environ, "RAY_TMPDIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        try:
            self.address = self._answer()
        except BaseException:
            self.close()
            raise

    def add(self, *, cpus: int = 0, gpus: int = 0) -> str:
        """Adds a node; its number, which is the last part of its address."""
        return self._order(f"add {cpus} {gpus}")

    def kill(self, node: str) -> None:
        """Kills a node's own processes, by SIGKILL; its workers' end follows from that."""
        self._order(f"kill {node}")

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)
        self._log.close()

    def processes(self) -> list[int]:
        """Of Ray's own, that name the cluster's folder: GCS, raylets, agents, monitors."""
        return [
            pid
            for entry in Path("/proc").iterdir()
            if (pid := int(entry.name) if entry.name.isdigit() else 0)
            and any(str(self.folder) in word for word in command_of(pid))
            and alive(pid)
        ]

    def _order(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, (self.folder / "cluster.log").read_text(errors="replace")[-4000:]
        return line


@contextlib.contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """A head that takes no workers. Ray's sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="sg-ray-", dir="/tmp"))
    cluster = RayCluster(folder)
    try:
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def running_on(
    cluster: RayCluster,
    app: str = str(PROGRAMS / "placed.py:app"),
    *,
    replicas: Replicas = Replicas(),  # noqa: B008 (a frozen value)
    gpus: float = 0,
    cpus: float = 1,
    working_dir: str | None = None,
    ready: int | None = None,
    **settings: Any,
) -> AsyncIterator[Local]:
    """A backend on the cluster, gone afterwards; yielded when ``ready`` workers are."""
    placed = RayWorkers(
        engine="ray",
        address=cluster.address,
        replicas=replicas,
        gpus=gpus,
        cpus=cpus,
        working_dir=working_dir,
    )
    options = {"grace": 0.2, "start_timeout": 30.0, **settings}
    made = LocalSettings(app=app, workers=placed, **options)
    backend = Local.class_of(made)("home", made, SystemClock())
    await backend.start()
    try:
        count = replicas.min if ready is None else ready
        await until(lambda: links(backend) >= count)
        yield backend
    finally:
        await backend.aclose()


def links(backend: Local) -> int:
    """Workers that take calls."""
    return sum(link.slots > 0 for link in backend._workers.connections)
