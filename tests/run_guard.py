"""The processes of a test run are known by a word in their environment, which each hands on to what
it starts. As a program, ``run_guard.py PARENT WORD``: kills them when the parent is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "SPILLGATE_TEST_RUN"
_LOOK_EVERY_S = 0.2


def marked(word: str) -> dict[int, Mapping[str, str]]:
    """The environment, by process id, of each living process that carries the word.

    Empty where there is no ``/proc``.
    """
    found: dict[int, Mapping[str, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            environ = _environ(folder / "environ")
            if f"{environ.get(VARIABLE)}/".startswith(f"{word}/"):
                found[int(folder.name)] = environ
    return found


def _environ(file: Path) -> dict[str, str]:
    pairs = file.read_bytes().decode(errors="replace").split("\0")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def guard(parent: int, word: str) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    while left := marked(word):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_EVERY_S)


if __name__ == "__main__":
    guard(int(sys.argv[1]), sys.argv[2])
