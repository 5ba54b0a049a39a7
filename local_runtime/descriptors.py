"""How many files and sockets a process may have open (getrlimit(2), RLIMIT_NOFILE).

A server holds one for each connection on either side, and a default unit of systemd or a shell
starts with a soft limit of 1,024 below a hard one of half a million. The soft one is low for
programs that use ``select``, which cannot see a descriptor above it: so it is given back to the
programs that a server starts for its user's code.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Mapping, MutableMapping

SOFT_LIMIT = "SPILLGATE_SOFT_NOFILE"
"""The environment's word for what the soft limit was before it was raised."""
_NO_LIMIT = 1 << 20
"""Where the hard limit is infinite: what Linux lets a process have (fs.nr_open)."""


def raise_limit(environ: MutableMapping[str, str] = os.environ) -> int:
    """Raises the soft limit to the hard one and returns it; programs that are started learn what
    it was by ``environ``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _NO_LIMIT if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            environ.setdefault(SOFT_LIMIT, str(soft))
    return limit()


def restore_limit(environ: Mapping[str, str] = os.environ) -> None:
    """Takes back the soft limit that a server's parent had, where ``environ`` says that it was
    raised."""
    was = environ.get(SOFT_LIMIT, "")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if was.isdecimal() and len(was) < 10:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(was), hard))


def limit() -> int:
    """Descriptors that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _NO_LIMIT if soft == resource.RLIM_INFINITY else soft
