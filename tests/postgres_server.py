"""A real PostgreSQL server for a test: on a free port of 127.0.0.1, in a folder of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType

import pytest

from gateway.store_urls import Database, parse_database
from tests.live import free_port
from tests.waiting import wait_until

_READY_S = 30.0
_ENDS_S = 10.0
_BINARIES = Path("/usr/lib/postgresql")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
QUICK = {"fsync": "off", "full_page_writes": "off"}
"""For tests that are not about what survives a machine: what a process has committed does."""


class PostgresServer:
    """``with PostgresServer() as server: ... server.url()``; ended by its own process id.

    ``settings`` are the server's own, such as {"max_connections": "5"}; without any, ``QUICK``.
    A server that was stopped may be started again, with its data. It never runs as root, which it
    refuses, and dies with the process that started it.
    """

    def __init__(self, settings: Mapping[str, str] = QUICK) -> None:
        self.port = free_port()
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._schemas = 0
        self._account = _account()
        self.folder = Path(tempfile.mkdtemp(prefix="spillgate-postgres-"))
        self.log = self.folder / "log"
        os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)

    def __repr__(self) -> str:
        return f"PostgresServer(127.0.0.1:{self.port})"

    def url(self, schema: str = "spillgate") -> str:
        return f"postgresql://spillgate@127.0.0.1:{self.port}/postgres?schema={schema}"

    def empty(self) -> Database:
        """A schema that is not there yet."""
        self._schemas += 1
        return parse_database(self.url(f"s{self._schemas}"))

    def start(self) -> None:
        """Returns when the server takes connections. Raises TimeoutError."""
        assert self._process is None, "it runs already"
        if not (self.folder / "data").exists():
            self._make()
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                # One that was killed a moment ago may not be gone with all its processes.
                self._process = self._popen()
            if self.run("pg_isready", "-q").returncode == 0:
                return
            time.sleep(0.05)  # a real process needs real time to start
        self.stop()
        raise TimeoutError(f"not ready within {_READY_S:g} s: {self.log.read_text()[-2000:]}")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """At once: SIGQUIT leaves out the checkpoint, SIGKILL everything, as a crash would; SIGINT
        ends its sessions in good order."""
        if self._process is not None:
            if how is signal.SIGKILL:
                self._kill(self._process.pid)
            else:
                self._process.send_signal(how)
            self._process.wait(_ENDS_S)
            self._process = None

    def _kill(self, pid: int) -> None:
        """With its sessions, which else go on until they notice that they are alone, and without
        one that it begins meanwhile."""
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: _state(pid) in "TtZ", "it stands still", every_s=0.001)
        sessions = list(_children(pid))
        for each in (*sessions, pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        # A stopped parent reaps nobody: its children are zombies until it is gone itself.
        wait_until(lambda: all(_state(each) in "ZX" for each in sessions), "sessions are gone")

    @property
    def pid(self) -> int:
        """Of the process that has all others as children."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def pause(self) -> None:
        """Freezes the sessions: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def query(self, sql: str) -> list[list[str]]:
        """The rows of a statement, as text, on a connection of its own."""
        done = self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", sql)
        assert done.returncode == 0, done.stderr.decode()
        return [line.split("|") for line in done.stdout.decode().splitlines()]

    def command(self, program: str, *arguments: str) -> list[str]:
        """One of PostgreSQL's clients, as it is run for this server."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "spillgate"]
        return [str(_binary(program)), *where, *arguments]

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.command(program, *arguments), capture_output=True, timeout=60)

    def _make(self) -> None:
        data = str(self.folder / "data")
        options = ["-A", "trust", "-U", "spillgate", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
        done = subprocess.run(
            [str(_binary("initdb")), "-D", data, *options],
            capture_output=True,
            cwd="/",
            timeout=120,
            user=self._account.pw_uid,
            group=self._account.pw_gid,
        )
        assert done.returncode == 0, done.stderr.decode()

    def _popen(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "16MB",
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(_binary("postgres")), "-D", str(self.folder / "data"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._account.pw_uid,
                group=self._account.pw_gid,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call
            )

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in (*_children(self._process.pid), self._process.pid):
            os.kill(pid, number)

    def __enter__(self) -> PostgresServer:
        try:
            self.start()
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
        self.stop()
        shutil.rmtree(self.folder)


def require_postgres() -> None:
    """Skips the test where there is no PostgreSQL server; fails it where CI=true."""
    if _installed() is not None:
        return
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail("PostgreSQL is not installed; apt-get install postgresql")
    pytest.skip("PostgreSQL is not installed")


@cache
def _installed() -> Path | None:
    """The folder of the newest server's programs, which are on nobody's PATH."""
    found = sorted(_BINARIES.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("postgres")
    return None if elsewhere is None else Path(elsewhere).parent


def _binary(program: str) -> Path:
    folder = _installed()
    assert folder is not None, "PostgreSQL is not installed"
    return folder / program


def _account() -> pwd.struct_passwd:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _die_with_parent() -> None:
    """An immediate shutdown, should this process be killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _state(pid: int) -> str:
    """The letter of proc(5); X of one that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def _children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())
