"""Files that a policy names: regular ones are read, within a bound. Nobody waits for a pipe, a
device or a file without end."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

LARGEST = 16 * 2**20
"""Bytes; the system's authorities are a quarter of one MiB."""
LARGEST_SECRET = 2**20


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """To be read. Raises OSError where it cannot be, or is no regular file, and ValueError for what
    is no path."""
    _check(os.stat(path).st_mode, path)  # before: to open a device may do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: str | os.PathLike[str], most: int = LARGEST) -> bytes:
    """All of it. Raises as ``open_regular`` does, and OSError where it is larger."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most // 2**20} MiB", os.fspath(path))
    return data


def checked(path: str | None) -> str | None:
    """The path of a file that somebody else reads by its name. Raises as ``read_regular`` does."""
    if path:
        read_regular(path)
    return path


def _check(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
