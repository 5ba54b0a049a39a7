"""``--reload``: an app's own server as a child process, started anew when a file of the app
changes, and on SIGHUP. For development: the model loads anew each time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

EVERY_S = 0.3
_LEFT_OUT = {"__pycache__", "node_modules", "site-packages"}


def folder_of(app: str) -> Path:
    """Whose files are watched: that of the app's file, or the working directory for a module."""
    source = app.rpartition(":")[0] or app
    return Path(source).resolve().parent if source.endswith(".py") else Path.cwd()


def seen_in(folder: Path) -> dict[str, int]:
    """Each Python file below the folder, and when it was last written."""
    return dict(_files(folder))


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    for here, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if one not in _LEFT_OUT and not one.startswith(".")]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(here, name)
                try:
                    yield path, os.stat(path).st_mtime_ns
                except OSError:  # it has just gone, as an editor's own files do
                    continue


class Reloader:
    """Runs ``command`` until SIGTERM or Ctrl-C."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = command
        self._folder = folder
        self._told = threading.Event()
        self._ends = False
        self._anew = False

    def run(self) -> int:
        """The exit status of the last child. Must run in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._take)
        while True:
            seen = seen_in(self._folder)
            child = subprocess.Popen(self._command)  # noqa: S603 - this program itself
            why = self._wait(child, seen)
            status = _ended(child)
            if self._ends:
                return status
            print(f"local_runtime: {why}: the app is loaded anew", file=sys.stderr, flush=True)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._ends = self._ends or number != signal.SIGHUP
        self._anew = True
        self._told.set()

    def _wait(self, child: subprocess.Popen[bytes], seen: dict[str, int]) -> str:
        """Until there is a reason to begin anew, which is returned; a child that has ended by
        itself waits for one too."""
        while not self._ends:
            self._told.wait(EVERY_S)
            self._told.clear()
            if self._anew:
                self._anew = False
                return "SIGHUP"
            now = seen_in(self._folder)
            if now != seen:
                changed = sorted(path for path, _ in now.items() ^ seen.items())
                return os.path.relpath(changed[0], self._folder)
        return "it ends"


def _ended(child: subprocess.Popen[bytes]) -> int:
    if child.poll() is None:
        child.terminate()
    return child.wait()
