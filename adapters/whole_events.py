"""Whole server-sent events out of any split of bytes (WHATWG HTML, section 9.2). Pure.

Lines end in ``\\n``, ``\\r\\n`` or ``\\r``; a byte order mark may stand before the first.
"""

from __future__ import annotations

import re

from adapters.errors import malformed

MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event; a server that sends more without an event's end is not believed."""
BOM = b"\xef\xbb\xbf"

_BOUNDARY = re.compile(rb"\r\n\r\n|\n\r\n|\n\n|\r\r")
_LONGEST_BOUNDARY = 4
_FIELD = re.compile(rb"[A-Za-z][\w.-]*\s*:|:|(data|event|id|retry)\s*$")
"""A line of an event: a field of whatever name, or a comment."""


class WholeEvents:
    """Feeds on bytes, gives those of the events that are whole. What is not whole waits, and is
    looked at once, so that a large event takes no longer than its size."""

    __slots__ = ("_fresh", "_max_event", "_parts", "_size", "_tail", "waits")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max_event = max_event
        self._parts: list[bytes] = []
        self._size = 0
        self._tail = b""
        self._fresh = True
        self.waits = True
        """Part of an event has come, or a byte order mark may yet come."""

    def feed(self, data: bytes) -> bytes:
        """The events that ``data`` completes, as they came. Raises MALFORMED for one that is larger
        than ``max_event`` bytes."""
        if self.waits:
            if self._fresh:
                data = self._without_mark(data)
            self.waits = self._fresh
        elif data.endswith(b"\n\n"):
            return data
        if self._parts:
            # A boundary may have begun in what came before.
            ahead = self._tail + data
            if not last_boundary(ahead):
                self._keep(data, ahead)
                return b""
            data = self.rest() + data
        cut = last_boundary(data)
        if cut < len(data):
            self._keep(data[cut:], data)
        return data[:cut]

    def rest(self) -> bytes:
        """What has come of an event that is not whole; it is forgotten."""
        rest = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return rest

    def _without_mark(self, data: bytes) -> bytes:
        data = self.rest() + data
        self._fresh = len(data) < len(BOM) and BOM.startswith(data)
        return data.removeprefix(BOM)

    def _keep(self, data: bytes, ahead: bytes) -> None:
        self.waits = True
        self._parts.append(data)
        self._size += len(data)
        self._tail = ahead[1 - _LONGEST_BOUNDARY :]
        if self._size > self._max_event:
            self.rest()
            raise malformed("The backend's stream holds an event without an end.")


def split_events(data: bytes) -> list[bytes]:
    """Bytes that end at a boundary -> events, each with its own boundary."""
    if data.endswith(b"\n\n") and data.find(b"\n\n") == len(data) - 2 and data.find(b"\r") < 0:
        return [data]
    events = []
    start = 0
    for match in _BOUNDARY.finditer(data):
        if match.end() > start:
            events.append(data[start : match.end()])
        start = match.end()
    return events


def last_boundary(data: bytes) -> int:
    """Where the last whole event ends; 0 when there is none."""
    if data.endswith(b"\n\n"):
        return len(data)
    return max(
        data.rfind(b"\n\n") + 2 if data.find(b"\n\n") >= 0 else 0,
        data.rfind(b"\n\r\n") + 3 if data.find(b"\n\r\n") >= 0 else 0,
        data.rfind(b"\r\r") + 2 if data.find(b"\r\r") >= 0 else 0,
    )


def name_of(event: bytes) -> bytes:
    """The name of an event; empty where it has none."""
    name = b""
    for line in event.splitlines():
        if line.startswith(b"event:"):
            name = line[6:].strip()
    return name


def data_of(event: bytes) -> bytes:
    """The joined ``data`` lines of an event."""
    if event.startswith(b"data: ") and event.count(b"\n") == 2 and event.find(b"\r") < 0:
        return event[6:-2]
    values = [
        line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")
    ]
    return b"\n".join(values)


def stray_text(event: bytes) -> bytes:
    """What stands in an event and in no field of it: text of a server that forgot to frame it."""
    if event.startswith(b"data:") and event.count(b"\n") == 2 and event.find(b"\r") < 0:
        return b""
    lines = (line for line in event.splitlines() if line and _FIELD.match(line) is None)
    return b"\n".join(lines).strip()
