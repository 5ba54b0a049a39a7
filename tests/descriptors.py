"""A process that has no descriptor left, for tests of what it does then."""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401  (the loops connect with it; it cannot be read from its file then)
import os
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def no_descriptor_left(but: int = 0) -> Iterator[None]:
    """The soft limit is what is open already, and ``but`` more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + but, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
