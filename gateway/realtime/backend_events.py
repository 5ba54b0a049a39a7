"""What a backend's events say, as far as it decides over the conversation."""

from __future__ import annotations

import msgspec


class RefusedEvent(msgspec.Struct):
    """Of an error, which of its caller's events it is about; None where it names none."""

    code: str | None = None
    event_id: str | None = None


class BackendEvent(msgspec.Struct):
    """``type`` is the event's own, whatever it quotes."""

    type: str = ""
    error: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def refusal(self) -> RefusedEvent:
        """That of an event of type error."""
        try:
            return msgspec.json.decode(self.error, type=RefusedEvent)
        except msgspec.DecodeError:
            return RefusedEvent()


_decode = msgspec.json.Decoder(BackendEvent).decode


def backend_event(message: bytes) -> BackendEvent:
    """Its adapter has passed on nothing that is no event."""
    try:
        return _decode(message)
    except (msgspec.DecodeError, RecursionError):
        return BackendEvent()
