"""Ties a worker to the process that started it."""

from __future__ import annotations

import os
import signal
import threading


def hold_on_to_parent() -> None:
    """Ends this process's whole group once the other end of standard input is closed.

    The front keeps that end and never writes, so it closes when the front ends, however that
    happens; the group holds the heartbeat process of RunPod's worker too, which would outlive it.
    """
    threading.Thread(target=_wait_for_the_end, name="leash", daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)
