"""Bytes of a WebSocket, cut where its frames end. Pure."""

from __future__ import annotations

_SHORT = 125
"""The longest frame whose length stands in its second byte."""


class FrameSplitter:
    """Of what is fed, pieces that hold at most one frame's end. What is fed may end anywhere."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._rest = 0
        """Bytes of the frame under way."""

    def feed(self, data: bytes) -> None:
        """More of it came."""
        self._data = self._data[self._at :] + data
        self._at = 0

    @property
    def has_more(self) -> bool:
        """There is a piece."""
        if self._rest:
            return self._at < len(self._data)
        return size_at(self._data, self._at) > 0

    @property
    def is_between(self) -> bool:
        """The last piece ended a frame."""
        return not self._rest

    def piece(self) -> bytes:
        """The next one: a frame, or what is there of one; empty where not even its length is."""
        if not self._rest:
            self._rest = size_at(self._data, self._at)
        found = self._data[self._at : self._at + self._rest]
        self._at += len(found)
        self._rest -= len(found)
        return found

    def line(self) -> bytes:
        """Instead of a frame a line of HTTP, or what is there of it."""
        end = self._data.find(b"\n", self._at) + 1 or len(self._data)
        found, self._at = self._data[self._at : end], end
        return found


def size_at(data: bytes, at: int) -> int:
    """Bytes of the frame that begins there; 0 where too few are there to tell."""
    if len(data) < at + 2:
        return 0
    second = data[at + 1]
    length, head = second & 0x7F, 6 if second & 0x80 else 2
    if length <= _SHORT:
        return head + length
    width = 2 if length == _SHORT + 1 else 8
    stated = data[at + 2 : at + 2 + width]
    return head + width + int.from_bytes(stated) if len(stated) == width else 0
