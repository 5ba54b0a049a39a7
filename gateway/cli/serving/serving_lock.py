"""Whoever serves from a data folder, told to whoever would put other data there.

All gateways of a folder hold it together, also those whose limits are in a store of their own, and
``spillgate restore`` alone. The system drops it when the last process of a gateway has died.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path

from gateway.cli.serving.data_lock import DataInUse, DataLock
from gateway.policy.model import Policy

log = logging.getLogger("spillgate")

FILE = "serving.lock"


class ServingLock:
    """Held in ``folder`` together with others, or alone. Raises DataInUse where that cannot be, and
    OSError where the folder takes no file."""

    def __init__(self, folder: Path, *, alone: bool = False) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Who inherits it serves until it has ended too.
        self.descriptor = os.open(folder / FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(
                self.descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB
            )
        except BlockingIOError:
            os.close(self.descriptor)
            raise DataInUse(_words(folder, alone)) from None
        except BaseException:
            os.close(self.descriptor)
            raise

    def close(self) -> None:
        """Gives it free; a second time changes nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class HeldLocks:
    """All that a gateway of the policy holds while it serves. Raises DataInUse."""

    def __init__(self, policy: Policy, beside_others: bool) -> None:
        folder = Path(policy.server.data)
        with contextlib.ExitStack() as stack:
            self._data = _data_lock(policy, beside_others)
            if self._data is not None:
                stack.callback(self._data.close)
            self._serving = _serving_lock(folder)
            if self._serving is not None:
                stack.callback(self._serving.close)
            self._close: Callable[[], None] = stack.pop_all().close

    @property
    def descriptors(self) -> tuple[int, ...]:
        """For processes that serve too, and inherit them."""
        return tuple(one.descriptor for one in (self._data, self._serving) if one is not None)

    def ends(self) -> None:
        """Says to whoever waits for the folder that it is worth it."""
        if self._data is not None:
            self._data.ends()

    def close(self) -> None:
        """Gives all free."""
        self._close()


def _data_lock(policy: Policy, beside_others: bool) -> DataLock | None:
    """Where limits are in this machine's memory alone."""
    alone = policy.store.shared is None and not beside_others
    return DataLock(Path(policy.server.data)) if alone else None


def _serving_lock(folder: Path) -> ServingLock | None:
    """None where the folder takes no file, and so nobody restores anything there."""
    try:
        return ServingLock(folder)
    except OSError as error:
        log.warning("%s: %s", folder / FILE, error.strerror or error)
        return None


def _words(folder: Path, alone: bool) -> str:
    if alone:
        return f"server.data: a gateway serves from {folder}. End it first"
    return f"server.data: `spillgate restore` puts a backup into {folder}. Wait until it has ended"
