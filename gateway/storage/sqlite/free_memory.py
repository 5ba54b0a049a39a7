"""Memory that nobody uses any more, given back to the system."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """What the C library's allocator has kept of what was freed: SQLite's pages lie between other
    things, so that it gives back little by itself. Nothing where the library is another than
    glibc (malloc_trim(3))."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
