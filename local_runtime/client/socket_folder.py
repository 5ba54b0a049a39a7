"""The folders in which workers' sockets lie: whose they may be, and who holds one.

A folder that the user names is locked (man 2 flock) by the process that puts sockets there and by
its supervisor, so that it is free when both are gone, and not before: a supervisor whose parent
was killed lets calls under way end, and takes the folder away last.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from local_runtime.clock import Clock

_SOCKET = re.compile(r"worker-(0|[1-9][0-9]{0,5})\.sock\Z")
_LONGEST_SOCKET = len("/worker-999.sock")
_SUN_PATH = 107
_ASK_S = 0.1
_NO_ANSWER = {errno.ECONNREFUSED, errno.ENOENT}


class InUse(OSError):
    """Somebody else's workers listen there."""


def new_folder() -> str:
    """A folder that only this user may enter, its path short enough for a Unix socket in it
    (``sun_path`` holds 108 bytes on Linux: man 7 unix)."""
    folder = tempfile.mkdtemp(prefix="spillgate-")
    if len(folder.encode()) + _LONGEST_SOCKET > _SUN_PATH:
        shutil.rmtree(folder)
        folder = tempfile.mkdtemp(prefix="spillgate-", dir="/tmp")
    return folder


def sockets_in(folder: str) -> dict[int, str]:
    """The number of each worker whose socket is there -> its path. Raises OSError for a folder
    that is missing, or that others than this user may enter."""
    _refuse_unless_ours(folder)
    found = ((_SOCKET.match(name), name) for name in os.listdir(folder))
    return {int(match[1]): os.path.join(folder, name) for match, name in found if match}


@contextlib.contextmanager
def locked(path: str) -> Iterator[tuple[str, int]]:
    """The folder of the user's choice, made where it is missing, rid of the sockets of workers that
    are gone; with the descriptor that locks it, for the process that is to hold it too.

    Raises InUse while another holds it or listens there, and OSError for a folder that others may
    enter, that holds anything but sockets of workers, or whose path leaves no room for their names.
    """
    folder = str(Path(path).absolute())
    lock = _lock_of(folder)
    try:
        _refuse_unless_ours(folder)
        if len(folder.encode()) + _LONGEST_SOCKET > _SUN_PATH:
            raise OSError(f"{folder} is too long a path for a Unix socket ({_SUN_PATH} bytes)")
        _sweep(folder)
        yield folder, lock
    finally:
        os.close(lock)


async def wait_until_free(path: str, clock: Clock, within_s: float) -> None:
    """Returns when the folder can be locked. Raises OSError, and InUse past ``within_s``."""
    end = clock.monotonic() + within_s
    while True:
        try:
            with locked(path):
                return
        except InUse:
            if clock.monotonic() >= end:
                raise
        await clock.sleep(_ASK_S)


def _lock_of(folder: str) -> int:
    """A descriptor of the folder, locked. Its last holder may just take it away: then it is made
    anew."""
    while True:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                _lock(lock, folder)
                if os.path.samestat(os.fstat(lock), os.stat(folder)):
                    return lock
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)


def _lock(descriptor: int, folder: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUse(
            f"{folder} is in use by another server: give each a folder of its own"
        ) from None


def _refuse_unless_ours(folder: str) -> None:
    found = os.stat(folder)
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OSError(
            f"{folder} must belong to this user alone: it is user {found.st_uid}'s, with mode "
            f"{stat.S_IMODE(found.st_mode):04o}, and this is user {os.getuid()}, who wants 0700"
        )


def _sweep(folder: str) -> None:
    """Removes sockets at which nobody listens, unless there is anything else."""
    entries = list(os.scandir(folder))
    for entry in entries:
        mode = entry.stat(follow_symlinks=False).st_mode
        if not (_SOCKET.match(entry.name) and stat.S_ISSOCK(mode)):
            raise OSError(
                f"{folder} holds other files, such as {entry.name}; it is removed at the end, so "
                "give one of its own"
            )
        if _somebody_listens(entry.path):
            raise InUse(f"a worker that runs listens at {entry.path}: give another folder")
    for entry in entries:
        os.unlink(entry.path)


def _somebody_listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)  # a full queue of connections is a listener too
        return caller.connect_ex(path) not in _NO_ANSWER
