"""The messages of a client, each of which is one event, or is refused."""

from __future__ import annotations

import msgspec

from adapters.realtime.caller_events import CallerEvent, caller_event
from gateway.api.requests.bodies import DecidingKeys
from gateway.types import ApiError

_keys = DecidingKeys(frozenset(("type", "event_id", "audio", "item", "response")))


def read_message(message: bytes) -> CallerEvent:
    """Raises ApiError 400 for what is no event, or may be two: what is counted here and what the
    backend does must be one thing."""
    try:
        event = caller_event(message)
    except (msgspec.DecodeError, RecursionError) as error:
        why = "it nests too deeply" if isinstance(error, RecursionError) else error
        raise ApiError(
            400,
            "invalid_event",
            f"The message is no event and was not passed on: {why}. Send one JSON object with a "
            "'type'.",
        ) from None
    _keys.check(message)
    return event
