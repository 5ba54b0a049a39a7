"""What the client of a stream is told while it waits, where it asks for that."""

from __future__ import annotations

from gateway.api.requests.request import RequestContext
from gateway.calls.state import CallState
from gateway.types import ApiError

HEADER = b"x-spillgate-progress"
_ANSWERS = {b"true": True, b"false": False}


def wants_progress(context: RequestContext) -> bool:
    """Raises ApiError 400 for a header that cannot be read."""
    value = context.headers.get(HEADER)
    if value is None:
        return False
    found = _ANSWERS.get(value.strip().lower())
    if found is None:
        raise ApiError(
            400,
            "invalid_header",
            "X-Spillgate-Progress must be true or false.",
            param="X-Spillgate-Progress",
        )
    return found


def progress_of(state: CallState, now: float) -> bytes:
    """A comment of SSE: the calls before it in line, and the seconds until it should begin, as far
    as they are known; or for how long it should have run. ``now``: monotonic seconds."""
    place = None if state.place is None else state.place()
    if place is not None:
        return b": waiting position=%d start_in=%.1f\n\n" % place
    if state.attempt is None:
        return b": waiting\n\n"
    begins_in_s = state.attempt.begins_at - now
    if begins_in_s > 0.0:
        return b": waiting start_in=%.1f\n\n" % begins_in_s
    return b": running for=%.1f\n\n" % -begins_in_s
