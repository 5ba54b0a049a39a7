"""An app's own server as a user runs it: a process of its own, and HTTP over loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from local_runtime.webhook_post import ALLOW_PRIVATE
from tests.adapters.local.backends import alive, grandparent_of
from tests.live import ROOT, free_port
from tests.waiting import wait_until

PROGRAMS = ROOT / "tests" / "programs"


class LiveRuntime:
    """``python -m local_runtime APP`` on a free port; ``command`` runs something else instead,
    that listens on ``$PORT``. As a context manager it waits until the app is ready."""

    def __init__(self, app: str, *options: str, command: Sequence[str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = [sys.executable, "-m", "local_runtime", str(PROGRAMS / app), "--port", str(self.port)]
        self._command = [*(command or own), *options]
        self.process: subprocess.Popen[str] | None = None
        self.printed = ""

    def start(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env={**os.environ, "PORT": str(self.port), "PYTHONPATH": str(ROOT), ALLOW_PRIVATE: "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def answers(self, path: str, status: int = 200) -> bool:
        try:
            with self.client as client:
                return client.get(path).status_code == status
        except httpx.TransportError:
            return False

    def workers(self) -> list[int]:
        """The process ids of its workers, as the kernel knows them."""
        assert self.process is not None
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in pids if grandparent_of(pid) == self.process.pid]

    def descriptors(self) -> int:
        """How many files and sockets the server has open."""
        assert self.process is not None
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def signal(self, number: int) -> int:
        """Sends a signal and waits for the end; the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait()

    def wait(self, within_s: float = 20.0) -> int:
        assert self.process is not None
        self.printed = self.process.communicate(timeout=within_s)[1]
        return self.process.returncode

    @contextlib.contextmanager
    def started(self) -> Iterator[Self]:
        """Runs it without waiting until the app is ready."""
        self.start()
        try:
            yield self
        finally:
            self.__exit__(None, None, None)

    def __enter__(self) -> Self:
        self.start()
        try:
            wait_until(lambda: self.answers("/readyz"))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        elif self.process.stderr is not None and not self.process.stderr.closed:
            self.wait()  # a test has ended it: what it printed last is still in the pipe


def all_gone(pids: Sequence[int]) -> bool:
    return not any(alive(pid) for pid in pids)
