"""The responses that the caller of a conversation has asked for, and that have not ended. Pure."""

from __future__ import annotations

from typing import NamedTuple

from adapters.realtime.caller_events import CallerEvent
from gateway.realtime.backend_events import RefusedEvent

_ONE_IS_ACTIVE = "conversation_already_has_active_response"
"""What nothing but a response.create is answered with."""
_MOST_NAMES = 16_384
"""Of events; in a conversation that has more, none is found by its name."""


class PendingResponse(NamedTuple):
    """``id`` is empty where no error can be known to mean it; ``said`` before it, in tokens."""

    id: str
    said: int


class AskedResponses:
    """In the order in which they were asked for."""

    def __init__(self) -> None:
        self.read_apart = False
        """One may have read something else than the conversation."""
        self._waiting: list[PendingResponse] = []
        self._names: set[int] = set()
        """Hashes of the names that events had."""

    def __len__(self) -> int:
        return len(self._waiting)

    def said(self, event: CallerEvent, said: int) -> None:
        """Its caller says this, and with it ``said`` tokens since the beginning."""
        is_known = self._note(event.id)
        if is_known:
            self._forget(event.id)
        if event.type == "response.create":
            self.read_apart |= event.reads_apart
            self._waiting.append(PendingResponse("" if is_known else event.id, said))

    def ended(self) -> PendingResponse | None:
        """A response has ended: the one that was asked for first; None where none was."""
        return self._waiting.pop(0) if self._waiting else None

    def refused(self, refusal: RefusedEvent) -> None:
        """One that will not be: which the error names, else the last one, before which most was
        read."""
        named = [one for one in self._waiting if one.id and one.id == refusal.event_id]
        if named:
            self._waiting.remove(named[0])
        elif refusal.code == _ONE_IS_ACTIVE and self._waiting:
            self._waiting.pop()

    def _forget(self, name: str) -> None:
        for place, asked in enumerate(self._waiting):
            if asked.id == name:
                self._waiting[place] = PendingResponse("", asked.said)

    def _note(self, name: str) -> bool:
        """Whether an error with this name may mean another event."""
        if not name:
            return False
        if len(self._names) >= _MOST_NAMES:
            return True
        is_known = hash(name) in self._names
        self._names.add(hash(name))
        return is_known
