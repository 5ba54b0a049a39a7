"""Where the C library takes memory from, in a process that serves."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping

_M_ARENA_MAX = -8
"""glibc's malloc.h."""
_TOLD_BY = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")


def share_one(environ: Mapping[str, str] = os.environ) -> None:
    """All threads take memory from one arena. Else each has one of its own, and what is free in one
    is of no use to the others; most of ours wait for the interpreter's lock anyway. To be called
    before there is a second thread. Whoever runs the gateway may say otherwise, and a C library
    that knows no arenas is left as it is."""
    if any(name in environ for name in _TOLD_BY):
        return
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
