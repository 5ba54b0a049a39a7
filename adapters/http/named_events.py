"""Server-sent events with names, as Cog and Replicate send them (WHATWG HTML, section 9.2).

Unknown names are events like any other, and an event without an id is one too. Pure: no I/O.
"""

from __future__ import annotations

import msgspec

from adapters.whole_events import MAX_EVENT, WholeEvents, split_events


class NamedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """``data`` is the event's lines joined with line feeds, ``comment`` what a colon began."""

    name: str = "message"
    data: bytes = b""
    id: str | None = None
    comment: bytes = b""


class NamedEvents:
    """Feeds on bytes in any split, gives whole events."""

    __slots__ = ("_events",)

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._events = WholeEvents(max_event)

    def feed(self, data: bytes) -> list[NamedEvent]:
        """Raises MALFORMED for an event without an end."""
        return [_parse(event) for event in split_events(self._events.feed(data))]

    def rest(self) -> list[NamedEvent]:
        """What stands after the last boundary at the end of a body: its comments alone, for an
        event without its blank line is not whole."""
        lines = self._events.rest().splitlines()
        return [NamedEvent(comment=line[1:].strip()) for line in lines if line[:1] == b":"]


def _parse(event: bytes) -> NamedEvent:
    name, id, data, comments = "message", None, [], []
    for line in event.splitlines():
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"id":
            id = value.decode("utf-8", "replace")
        elif not field:
            comments.append(value)
    return NamedEvent(name=name, id=id, data=b"\n".join(data), comment=b"\n".join(comments).strip())
