"""What a program prints, and what it leaves running: read for as long as anyone may print."""

from __future__ import annotations

import asyncio
import os

_KEPT = 800
"""Bytes of the end."""
_AT_ONCE = 65536
_PIPE_READS = 32
"""More than a pipe holds, so that one who prints without end holds nobody up."""


class Printed:
    """The end of what comes through a pipe. It is read until all have closed it: who runs on in the
    background is neither held up by a full pipe nor ended by a closed one."""

    def __init__(self) -> None:
        """Raises OSError where there can be no pipe."""
        self._source, self.end = os.pipe()
        """``end``: to print into."""
        os.set_blocking(self._source, False)
        self._last = b""
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._source, self._read)

    def leave_to_others(self) -> None:
        """The end is theirs who were begun with it."""
        os.close(self.end)

    def text(self) -> str:
        """The last of what has come."""
        for _ in range(_PIPE_READS):
            if not self._read():
                break
        return self._last.decode("utf-8", "replace").strip()

    def _read(self) -> bool:
        """Whether there may be more by now."""
        if self._is_over:
            return False
        try:
            data = os.read(self._source, _AT_ONCE)
        except BlockingIOError:
            return False
        self._last = (self._last + data)[-_KEPT:]
        if not data:
            self._is_over = True
            self._loop.remove_reader(self._source)
            os.close(self._source)
        return not self._is_over
