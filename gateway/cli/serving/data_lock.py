"""One gateway a data folder, where limits and budgets are in its own memory.

The system drops the lock when the process dies, however it dies. Only ``serve`` takes it: other
commands work beside a running gateway.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

_FILE = "gateway.lock"
_ENDING = b" ending"
_EVERY_S = 0.1


class DataInUse(Exception):
    """Another gateway uses the data folder. The message is for whoever would start one there;
    ``by`` says who that is."""

    def __init__(self, message: str, by: str = "") -> None:
        super().__init__(message)
        self.by = by


class DataLock:
    """The lock on the data folder ``folder``, which is made where it is missing. Raises DataInUse
    while another gateway has it; one that is ending is waited for, as at a restart: until its calls
    have ended."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / _FILE
        # Who inherits it keeps the folder until it has ended too.
        self.descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            while not self._is_taken():
                if not self._told().endswith(_ENDING):
                    raise _in_use(folder, self._told().decode(errors="replace"))
                time.sleep(_EVERY_S)
        except BaseException:
            os.close(self.descriptor)
            raise
        self._tell(b"%d" % os.getpid())

    def _is_taken(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def ends(self) -> None:
        """Says to whoever waits that it is worth it."""
        self._tell(b"%d%s" % (os.getpid(), _ENDING))

    def close(self) -> None:
        """Gives the folder free; a second time changes nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _told(self) -> bytes:
        return os.pread(self.descriptor, 64, 0)

    def _tell(self, text: bytes) -> None:
        # A full disk is no reason not to serve: the lock is what holds.
        with contextlib.suppress(OSError):
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, text, 0)


def _in_use(folder: Path, process: str) -> DataInUse:
    who = f"the gateway with process id {process}" if process else "another gateway"
    by = f"server.data: {who} uses {folder} already"
    return DataInUse(
        f"{by}. With store.shared: memory:// each would have limits and budgets of its own. End "
        "it, give another server.data, or let both share a store.shared: redis://HOST:6379/0; "
        "`spillgate serve --beside-others` starts all the same",
        by,
    )
