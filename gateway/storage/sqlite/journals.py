"""The journals beside a ledger's file, and whose they are.

SQLite takes whatever stands at ``PATH-wal`` for the journal of whatever stands at ``PATH``
(https://www.sqlite.org/howtocorrupt.html, 1.4): where another file is moved over one that is in
use, the first to open it would write the old one's rows over the new one's. So who opens a file
that stands in the place of another first takes away the journals that were the other's.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import NamedTuple

Inode = tuple[int, int]
_SUFFIXES = ("-wal", "-shm")


class _Known(NamedTuple):
    file: Inode | None
    journals: dict[str, Inode]


_lock = threading.Lock()
_known: dict[Path, _Known] = {}
"""Of this process, as SQLite's own locks are: what it has opened, and what lay beside it then."""


def inode_of(path: Path) -> Inode | None:
    """None where nothing is there, or cannot be looked at."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def before_opening(path: Path) -> None:
    """Takes away the journals of a file that stood at ``path``, and stands there no more. Whoever
    has that one open keeps them."""
    path = path.resolve()  # as SQLite does
    with _lock:
        known = _known.get(path)
        if known is None or known.file == inode_of(path):
            return
        for suffix, inode in known.journals.items():
            journal = Path(f"{path}{suffix}")
            if inode_of(journal) == inode:
                with contextlib.suppress(FileNotFoundError):
                    journal.unlink()
        del _known[path]


def after_opening(path: Path) -> None:
    """Remembers the file, and the journals that its connections have."""
    path = path.resolve()
    with _lock:
        beside = {suffix: inode_of(Path(f"{path}{suffix}")) for suffix in _SUFFIXES}
        journals = {suffix: inode for suffix, inode in beside.items() if inode is not None}
        _known[path] = _Known(inode_of(path), journals)
