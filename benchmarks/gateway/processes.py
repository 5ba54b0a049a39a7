"""Processes that the benchmark starts: each in a session of its own, with a log, ended for sure."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from benchmarks.gateway.accounting import Stat, all_stats, descendants, read_stat

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
HOST = "127.0.0.1"
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


class StartFailed(Exception):
    """A process did not become ready. The message ends with the tail of its log."""


class Missing(StartFailed):
    """It is not to be had on this machine, which is no failure of its own."""


class Child:
    """A process, its descendants and its log. Use it with ``with``, or call ``stop``."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> bool:
        return self._process.poll() is not None

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def pause(self) -> None:
        """Stops all of them in their tracks, so that they use nothing while another is measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for stat in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(stat.pid, number)

    def stop(self) -> None:
        """Ends the process and every descendant, the ones in other sessions included."""
        self.resume()
        everyone = self._family()
        if not self.ended():
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
        for stat in everyone:
            _kill_if_same(stat)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(GRACE)

    def _family(self) -> list[Stat]:
        stats = all_stats()
        return [stats[pid] for pid in descendants(stats, self.pid)]

    def wait_until(
        self, ready: Callable[[], bool], *, what: str, deadline: float, every: float = 0.02
    ) -> None:
        """Polls for at most ``deadline`` seconds; raises StartFailed with the log's tail."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            if self.ended():
                raise StartFailed(f"{what} ended at once{self.log_tail()}")
            if ready():
                return
            time.sleep(every)
        raise StartFailed(f"{what} was not ready after {deadline:.0f} s{self.log_tail()}")

    def log_tail(self, lines: int = 15) -> str:
        tail = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "".join(f"\n    | {line}" for line in tail)


def _kill_if_same(stat: Stat) -> None:
    """A pid may by now be another process's: its birth tells."""
    now = read_stat(stat.pid)
    if now is not None and now.born == stat.born:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stat.pid, signal.SIGKILL)


def free_port() -> int:
    """A port that nobody on the loopback listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port
