"""Every line that the gateway says: one thread writes them, and nobody waits for it.

The event loop never writes to a pipe: a reader that pauses would freeze all calls with it. What
the reader is too slow for is dropped, counted, and owned up to once it reads again. A line's words
may come from a backend, so no control character leaves as it came: none can begin a line.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import queue
import select
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Protocol

import msgspec

MOST_WAITING = 20_000
"""Lines that may wait for the reader; more are dropped."""
_PIPE_BUF = 4096
"""Bytes that a pipe takes whole (POSIX): what worker processes print there too is not mixed in."""
_LONGEST = 16 * 1024
"""Characters of one line."""
_INDENT = "    "

Render = Callable[[], bytes]
"""Whole lines, made on the writer's thread."""
REQUEST_ID: ContextVar[str] = ContextVar("REQUEST_ID", default="")
"""Of the request that this task, or the one that made it, answers."""


class Target(Protocol):
    """An unbuffered stream. ``None``: it takes nothing now, and is not one to wait in."""

    def write(self, data: bytes, /) -> int | None: ...
    def fileno(self) -> int: ...


class LineWriter:
    """Writes lines from a thread of its own. ``put`` never waits; any thread may call it."""

    def __init__(self, target: Target, *, at_once: int | None = None) -> None:
        """``at_once``: bytes of a single write, which ends with a line unless that is longer."""
        self.dropped = 0
        """Lines that nobody will read."""
        self.as_json = False
        """Whether entries are objects of JSON."""
        self._target = target
        self._at_once = at_once
        self._batches: queue.SimpleQueue[tuple[int, Render] | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._waiting = self._untold = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="log-lines", daemon=True)
        self._thread.start()

    def put(self, lines: int, render: Render) -> bool:
        """Takes a batch of ``lines``; False where it is dropped."""
        with self._lock:
            if self._closed or self._waiting + lines > MOST_WAITING:
                self._drop(lines)
                return False
            self._waiting += lines
        self._batches.put((lines, render))
        return True

    def close(self, within_s: float = 1.0) -> None:
        """Writes what waits, for at most so many seconds."""
        with self._lock:
            self._closed = True
        self._batches.put(None)
        self._thread.join(within_s)

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._untold += lines

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            lines, render = batch
            written = self._try_to_write(render)
            with self._lock:
                self._waiting -= lines
                if not written:
                    self._drop(lines)
                    continue
                untold, self._untold = self._untold, 0
            if untold:
                self._own_up(untold)

    def _own_up(self, lines: int) -> None:
        words = f"{lines} log lines were dropped: nobody read them in time"
        entry = Entry(at=instant(time.time()), level="WARNING", logger="spillgate", message=words)
        text = entry.as_json() if self.as_json else _encoded(entry.as_text())
        if not self._try_to_write(lambda: text):
            with self._lock:
                self._untold += lines

    def _try_to_write(self, render: Render) -> bool:
        try:
            for piece in _pieces(render(), self._at_once):
                self._write(piece)
        except Exception:  # a line that cannot be made or written is lost; the thread is not
            return False
        return True

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            count = self._target.write(bytes(left))
            if count is None:
                select.select((), (self._target,), (), 1.0)
            else:
                left = left[count:]


def _pieces(data: bytes, at_once: int | None) -> Iterator[bytes]:
    """``data`` cut behind line ends, where it is longer than ``at_once``."""
    if at_once is None or len(data) <= at_once:
        yield data
        return
    start = 0
    while start < len(data):
        end = start + at_once
        if end < len(data):
            end = (data.rfind(b"\n", start, end) + 1) or (data.find(b"\n", end) + 1) or len(data)
        yield data[start:end]
        start = end


def writer_to(descriptor: int) -> LineWriter:
    """A writer to an open descriptor, which stays open. It goes round Python's own buffer, which
    would be locked at the end of the process while the thread waits for a reader."""
    target = io.FileIO(descriptor, "w", closefd=False)
    pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    return LineWriter(target, at_once=_PIPE_BUF if pipe else None)


# --- what is said by logging, and by whoever prints ----------------------------------------------


def one_line(text: str) -> str:
    """Control characters as escapes, so that one entry is one line of a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def indented(text: str) -> str:
    """Several lines of which none can be taken for the beginning of another entry."""
    return "\n".join(_INDENT + _bounded(line) for line in text.splitlines())


def _bounded(text: str) -> str:
    line = one_line(text[:_LONGEST])
    return line if len(text) <= _LONGEST else line + "..."


def instant(at: float) -> str:
    """UTC, to the millisecond, of seconds since the epoch."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03}Z"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one entry of the log says."""

    at: str
    """UTC, as ISO 8601 has it."""
    level: str
    logger: str
    message: str
    request_id: str = ""
    """Of the request that was answered meanwhile; left out where there was none."""
    details: str = ""
    """A traceback, or a stack."""

    def as_text(self) -> str:
        """One line that begins with its time; the details stand indented below it."""
        words = f"{self.level} {self.logger}: {self.message}"
        if self.request_id and self.request_id not in self.message:
            words += f" [{self.request_id}]"
        line = f"{self.at} {_bounded(words)}"
        return f"{line}\n{indented(self.details)}" if self.details else line

    def as_json(self) -> bytes:
        """One line, whatever the words hold."""
        short = msgspec.structs.replace(
            self, message=self.message[:_LONGEST], details=self.details[:_LONGEST]
        )
        try:
            return msgspec.json.encode(short) + b"\n"
        except UnicodeEncodeError:  # half a surrogate pair
            fit = short.message.encode("utf-8", "backslashreplace").decode()
            return (
                msgspec.json.encode(msgspec.structs.replace(short, message=fit, details="")) + b"\n"
            )


class LineFormatter(logging.Formatter):
    """An entry is one line that begins with its time; a traceback stands indented below it."""

    def format(self, record: logging.LogRecord) -> str:
        return self.entry(record).as_text()

    def entry(self, record: logging.LogRecord) -> Entry:
        """What the record says."""
        details = [self.formatException(record.exc_info)] if record.exc_info else []
        details += [record.stack_info] if record.stack_info else []
        return Entry(
            at=instant(record.created),
            level=record.levelname,
            logger=record.name,
            message=record.getMessage(),
            request_id=getattr(record, "request_id", ""),
            details="\n".join(details),
        )


class LineHandler(logging.Handler):
    """Puts entries in line at a writer."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer
        self._lines = LineFormatter()
        self.addFilter(NoEcho())

    def emit(self, record: logging.LogRecord) -> None:
        record.request_id = REQUEST_ID.get()
        self._writer.put(1, partial(self._render, record))

    def _render(self, record: logging.LogRecord) -> bytes:
        entry = self._lines.entry(record)
        return entry.as_json() if self._writer.as_json else _encoded(entry.as_text())


class NoEcho(logging.Filter):
    """What was said in the last second is not said again: a store that is away is the same news
    for each of the thousands of calls that are refused meanwhile."""

    _MOST = 100

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Fixes the entry's words as well: its arguments may change before they are written."""
        text = _message_of(record)
        record.msg, record.args = text, None
        if record.created - self._said.get(text, -1.0) < 1.0:
            return False
        if len(self._said) >= self._MOST:
            self._said.clear()
        self._said[text] = record.created
        return True


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # arguments that do not fit their text are no caller's fault
        return f"{record.msg!s} ({type(error).__name__}: {error})"


class LineStream(io.TextIOBase):
    """Stands for ``sys.stderr``: what a library prints is put in line too, and marked."""

    def __init__(self, writer: LineWriter, descriptor: int) -> None:
        super().__init__()
        self._writer = writer
        self._descriptor = descriptor
        self._partial = threading.local()

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        begun: str = getattr(self._partial, "text", "")
        *lines, rest = (begun + text).split("\n")
        if len(rest) > _LONGEST:
            lines, rest = [*lines, rest], ""
        self._partial.text = rest
        if lines:
            self._writer.put(len(lines), partial(self._marked, lines, time.time()))
        return len(text)

    def _marked(self, lines: list[str], at: float) -> bytes:
        if not self._writer.as_json:
            return _encoded("\n".join(f"stderr: {_bounded(line)}" for line in lines))
        said = [
            Entry(at=instant(at), level="INFO", logger="stderr", message=line) for line in lines
        ]
        return b"".join([entry.as_json() for entry in said])


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace") + b"\n"


@contextlib.contextmanager
def all_through(writer: LineWriter) -> Iterator[None]:
    """Logging, warnings, tracebacks and whatever is printed to ``sys.stderr`` go through
    ``writer`` meanwhile; at the end it writes what waits, and is closed."""
    handler, root, stderr = LineHandler(writer), logging.getLogger(), sys.stderr
    level, others = root.level, root.handlers[:]
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    sys.stderr = LineStream(writer, 2)
    try:
        yield
    finally:
        sys.stderr = stderr
        logging.captureWarnings(False)
        root.handlers[:] = others
        root.setLevel(level)
        writer.close()
