"""What ties a worker to its supervisor: it reports by a pipe, and does not outlive it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from local_runtime.protocol.events import Broken, LifeSign
from local_runtime.protocol.wire import frame

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
MAX_MESSAGE = 2000
"""Characters: a frame stays below PIPE_BUF (4096 bytes on Linux), so it is written whole."""


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent dies, even while user code holds the GIL
    (Linux only; elsewhere the end of stdin says so)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def take_stdin() -> int:
    """The supervisor's orders come by stdin, which an app may read, close, or hand on to a program
    that does: it finds an empty one in its place. The descriptor of the orders."""
    orders = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return orders


class Lifeline:
    """The write end of the pipe to the supervisor. Never blocks: a supervisor that does not read
    loses heartbeats."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)
        self._fd = fd

    def send(self, event: LifeSign) -> None:
        """Writes the event, or drops it where the pipe is full or its reader gone."""
        try:
            os.write(self._fd, frame(event))
        except OSError:
            return

    def broken(self, broken: Broken) -> None:
        """Says why the worker is about to exit."""
        self.send(Broken(broken.stage, broken.message[:MAX_MESSAGE], broken.permanent))
