"""A real Redis server for a test: on a free port of 127.0.0.1, without persistence."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from types import TracebackType

import pytest

from tests.live import free_port

_READY_S = 10.0


class RedisServer:
    """``with RedisServer() as server: ... server.url``; ended by its own process id.

    ``options`` are the server's own, such as ``("--requirepass", "word")``.
    """

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"RedisServer({self.url})"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns when the server takes connections. Raises TimeoutError after 10 s."""
        assert self._process is None, "it runs already"
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        nothing_on_disk = ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
        self._process = subprocess.Popen(
            [*command, *nothing_on_disk, *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_until_ready()

    def stop(self) -> None:
        """Kills it, as a crash would: what it held in memory is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def pause(self) -> None:
        """Freezes it: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def command(self, *parts: str) -> bytes:
        """The raw reply to one command, on a connection of its own; for short replies."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall((" ".join(parts) + "\r\n").encode())
            return connection.recv(65536)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            try:
                if self.command("PING")[:1] in (b"+", b"-"):
                    return
            except OSError:
                time.sleep(0.02)  # a real process needs real time to start
        self.stop()
        raise TimeoutError(f"redis-server was not ready within {_READY_S:g} s")

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def require_redis() -> None:
    """Skips the test where there is no redis-server; fails it where CI=true."""
    if shutil.which("redis-server") is not None:
        return
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail("redis-server is not installed; apt-get install redis-server")
    pytest.skip("redis-server is not installed")
