"""What user code prints: cut into lines, marked with its worker, passed on without ever holding
up the worker that prints or the supervisor that reads."""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import BinaryIO

MAX_LINE = 8192
"""Bytes; a longer line is cut into several."""
MAX_WAITING = 2000
"""Lines that wait for a slow reader; more are left out, and counted."""
CLOSE_S = 1.0
"""The longest that a slow reader is waited for at the end."""
TAIL = 20
"""Lines kept to say why a worker died."""


class LineSplitter:
    """Cuts a byte stream into lines, however it arrives in pieces, and keeps the last few."""

    def __init__(self) -> None:
        self._partial = b""
        self.tail: deque[bytes] = deque(maxlen=TAIL)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, without their ends."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        while len(self._partial) > MAX_LINE:
            lines.append(self._partial[:MAX_LINE])
            self._partial = self._partial[MAX_LINE:]
        cut = [piece for line in lines for piece in _pieces(line)]
        self.tail.extend(line for line in cut if line.strip())
        return cut

    def flush(self) -> list[bytes]:
        """The last line, which has no end."""
        return self.feed(b"\n") if self._partial else []


def _pieces(line: bytes) -> list[bytes]:
    if len(line) <= MAX_LINE:
        return [line]
    return [line[start : start + MAX_LINE] for start in range(0, len(line), MAX_LINE)]


class LogWriter:
    """Writes lines to a stream from a thread of its own; drops what the stream is too slow for."""

    def __init__(self, stream: BinaryIO, whose: str = "") -> None:
        """``whose``: what each line begins with, such as the name of a backend."""
        self._stream = stream
        self._whose = f"{whose} ".encode() if whose else b""
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._left_out = 0
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Takes a line, without its end; counts it instead where too many wait."""
        try:
            if self._left_out:
                self._waiting.put_nowait(b"... %d lines left out" % self._left_out)
                self._left_out = 0
            self._waiting.put_nowait(self._whose + line)
        except queue.Full:
            self._left_out += 1

    def close(self) -> None:
        """Writes what waits, as far as the stream takes it within ``CLOSE_S``."""
        try:
            self._waiting.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (line := self._waiting.get()) is not None:
            try:
                self._stream.write(line + b"\n")
                if self._waiting.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                return
