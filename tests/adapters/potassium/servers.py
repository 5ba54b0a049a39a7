"""Servers with Potassium's face: Potassium 0.5.0 itself, and this project's runtime."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.gateway.environments import Environment
from benchmarks.gateway.processes import StartFailed
from tests.adapters.local.backends import alive
from tests.live import ROOT, free_port
from tests.waiting import wait_until

PROGRAM = ROOT / "tests" / "programs" / "potassium_stage.py"
_MANY_FILES = 'ulimit -n 4096; exec "$@"'
"""Potassium keeps four descriptors of every call that it ran."""
POTASSIUM = Environment(folder="potassium", package="potassium", version="0.5.0")


class PotassiumServer:
    """The program of the tests on a free port; ``running`` counts the calls that it runs now."""

    def __init__(self, command: Sequence[str], *, held: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.notes = Path(self._folder.name)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._init = self.notes / "init"
        env = {**os.environ, "PORT": str(self.port), "STAGE_NOTES": str(self.notes)}
        if held:
            env["STAGE_INIT"] = str(self._init)
        self.process = subprocess.Popen(
            ["sh", "-c", _MANY_FILES, "sh", *(self._filled(command))],
            cwd=ROOT,
            env={**env, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _filled(self, command: Sequence[str]) -> list[str]:
        return [word.replace("$PORT", str(self.port)) for word in command]

    def release_init(self) -> None:
        self._init.touch()

    def wait_until_ready(self, seconds: float = 30.0) -> None:
        wait_until(self._is_ready, "the server is ready", within_s=seconds)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, "the server has ended"
        return self.available()

    def available(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/_k/status", timeout=5) as response:
                return b"true" in response.read()
        except (urllib.error.URLError, ConnectionError):
            return False

    def running(self) -> int:
        """Of processes that live: one that was killed could not take its notes away."""
        notes = self.notes.glob("*.running")
        return sum(alive(int(note.name.partition("-")[0])) for note in notes)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(15)
        self._folder.cleanup()


@contextlib.contextmanager
def runtime_server(*, held: bool = False) -> Iterator[PotassiumServer]:
    """The program on this project's own runtime, once it takes calls."""
    options = ["--port", "$PORT", "--grace", "0.2"]
    command = [sys.executable, "-m", "local_runtime", f"{PROGRAM}:app", *options]
    yield from _served(PotassiumServer(command, held=held), held=held)


@contextlib.contextmanager
def genuine_server(*, held: bool = False) -> Iterator[PotassiumServer]:
    """The same program on Potassium itself, in an environment of its own that is made once."""
    command = [str(genuine_python()), str(PROGRAM), "--genuine"]
    yield from _served(PotassiumServer(command, held=held), held=held)


def genuine_python() -> Path:
    """Skips the test where Potassium cannot be installed, except in CI."""
    try:
        POTASSIUM.ensure()
    except (StartFailed, subprocess.TimeoutExpired) as error:
        if os.environ.get("CI", "").lower() == "true":
            raise
        pytest.skip(f"Potassium cannot be installed: {error}")
    return POTASSIUM.python


def _served(server: PotassiumServer, *, held: bool) -> Iterator[PotassiumServer]:
    try:
        if not held:
            server.wait_until_ready()
        yield server
    finally:
        server.close()
