"""The cycle collector of a process that has started, and serves from now on."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_SELDOM = 50_000, 20, 50
"""Objects made between two looks at the youngest, and looks at them between those at the others."""


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Around imports, whose modules stay: they are not looked through while they are loaded, nor
    ever again. That is a tenth of the time that a program of hundreds of modules takes to start."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def freeze() -> None:
    """Everything that the start has made and is not garbage stays: it is never looked through
    again. A process with torch has some hundred thousand objects, and to look through them takes
    tens of milliseconds in the middle of a call."""
    gc.collect()
    gc.freeze()


def relax() -> None:
    """For a server whose calls leave no cycles behind: nor need the collector look often. With its
    defaults it takes a twentieth of all CPU under load."""
    freeze()
    gc.set_threshold(*_SELDOM)


@contextlib.contextmanager
def relaxed() -> Iterator[None]:
    """The same for as long as some work lasts that leaves no cycles behind."""
    before = gc.get_threshold()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
