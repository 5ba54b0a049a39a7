"""Which gateway processes are alive, so that none settles what another one is still serving.

Several processes may share one ledger. Each holds a lock on a small file, beside the ledger or in
its own folder for data; the system drops the lock when the process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path


class LedgerOwner:
    """This ledger's name in the rows that it opens: ``token``."""

    def __init__(self, ledger: Path, token: str = "") -> None:
        ledger.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.token = token or secrets.token_hex(8)
        self._prefix = _prefix(ledger)
        self._ledger = ledger
        self._folder = ledger.parent
        self._path = ledger.with_name(self._prefix + self.token)
        self._descriptor = self._hold()

    def _hold(self) -> int:
        # Locked before it has the name by which others look for it.
        unnamed = self._path.with_name("." + self._path.name)
        descriptor = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unnamed.rename(self._path)
        return descriptor

    def others(self) -> set[str]:
        """Tokens of the other ledgers that are alive; removes what dead ones left behind."""
        return {
            path.name.removeprefix(self._prefix)
            for path in self._folder.glob(f"{self._prefix}*")
            if path != self._path and not _remove_if_dead(path)
        }

    def dead(self) -> set[str]:
        """Tokens of ledgers of this folder whose process is gone; ``forget`` removes one."""
        return dead_owners(self._ledger) - {self.token}

    def forget(self, token: str) -> None:
        """Removes what a dead one left behind."""
        forget_owner(self._ledger, token)

    def close(self) -> None:
        """Gives the token up; a second time changes nothing."""
        if self._descriptor < 0:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def dead_owners(ledger: Path) -> set[str]:
    """Tokens of all that were owners of it, and whose process is gone."""
    prefix = _prefix(ledger)
    return {
        path.name.removeprefix(prefix)
        for path in ledger.parent.glob(f"{prefix}*")
        if _is_dead(path)
    }


def forget_owner(ledger: Path, token: str) -> None:
    """Removes what a dead one left behind."""
    ledger.with_name(_prefix(ledger) + token).unlink(missing_ok=True)


def _prefix(ledger: Path) -> str:
    return f"{ledger.name}-owner-"


def _remove_if_dead(path: Path) -> bool:
    if not _is_dead(path):
        return False
    path.unlink(missing_ok=True)
    return True


def _is_dead(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
