"""What this process lacks itself, which is the fault of no backend: descriptors, memory, space."""

from __future__ import annotations

import errno
import os
import resource
import sys

from adapters.errors import BackendError, FailureClass

OURS = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)
)

TOO_MANY = "The gateway has too many connections open; try again shortly."
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


def reserve_of(limit: int) -> int:
    """Descriptors that are kept free, of so many: for databases, certificates and health checks
    while calls are refused."""
    return max(16, min(limit // 8, 256))


def last_for_calls() -> int:
    """The number from which on a descriptor belongs to what is kept free. Half of the reserve is
    left to calls that were taken before it was reached.

    A new descriptor has the lowest number that is free (POSIX), so its number says how many are
    in use.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 1 << 20 if soft == resource.RLIM_INFINITY else soft
    return limit - reserve_of(limit) // 2


def is_ours(error: OSError) -> bool:
    """Whether a connection could not be made for what this process lacks. A name that was not
    resolved, and several errors in one, do not say it: then one descriptor is tried."""
    return error.errno in OURS or not has_room(last_for_calls())


def lacks_descriptors(error: Exception) -> bool:
    """Whether a file or a connection could not be opened for want of a descriptor. SQLite does not
    say why it cannot open one: then one descriptor is tried."""
    said = error.errno if isinstance(error, OSError) else None
    return said in _NO_DESCRIPTOR or not has_room(last_for_calls())


def has_room(last: int) -> bool:
    """Whether the next descriptor is below the number ``last``."""
    return lowest_free() < last


def lowest_free() -> int:
    """The number that the next descriptor has; past every limit where there is none."""
    try:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return sys.maxsize if error.errno in OURS else 0
    os.close(lowest)
    return lowest


def shortage(detail: str) -> BackendError:
    return BackendError(
        FailureClass.SHORTAGE,
        TOO_MANY,
        retry_after=1.0,
        detail=detail,
    )
