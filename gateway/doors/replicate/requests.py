"""What is asked of a prediction. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from adapters.settings import parse_duration
from gateway.api.requests.queries import whole_number
from gateway.types import ApiError

_LONGEST_WAIT_S = 60.0
_SHORTEST_LIFE_S, _LONGEST_LIFE_S = 5.0, 86_400.0
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[hms])+\Z")
_PARTS = re.compile(r"\d+(?:\.\d+)?[hms]")


class PredictionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a create."""

    input: msgspec.Raw
    version: str | None = None
    model: str | None = None
    stream: bool | None = None
    webhook: str | None = None
    webhook_completed: str | None = None
    webhook_events_filter: list[Literal["start", "output", "logs", "completed"]] | None = None


DECODER = msgspec.json.Decoder(PredictionBody)


def webhook_of(body: PredictionBody) -> str | None:
    """Who is told of the end. Raises ApiError 400 where the end is what nobody wants to be told."""
    events = body.webhook_events_filter
    if body.webhook and events is not None and "completed" not in events:
        raise ApiError(
            400,
            "unsupported",
            "Only the end of a prediction is told here: add `completed`.",
            param="webhook_events_filter",
        )
    return body.webhook or body.webhook_completed or None


def waits_s(headers: Mapping[bytes, bytes]) -> float:
    """Seconds for which the create is held: ``Prefer: wait``, or ``wait=10``. Raises ApiError
    400."""
    for part in headers.get(b"prefer", b"").split(b","):
        name, _, value = part.strip().partition(b"=")
        if name.lower() == b"wait":
            return _wait(value.decode("latin-1").strip())
    return 0.0


def _wait(text: str) -> float:
    if not text:
        return _LONGEST_WAIT_S
    seconds = whole_number(text, 1, int(_LONGEST_WAIT_S))
    if seconds is None:
        raise ApiError(
            400, "invalid_header", "`Prefer: wait=N` takes 1 to 60 seconds.", param="Prefer"
        )
    return float(seconds)


def lives_s(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds until the prediction must have ended: ``Cancel-After: 90``, ``5m`` or ``1h30m``.
    Raises ApiError 400."""
    text = headers.get(b"cancel-after", b"").decode("latin-1").strip()
    if not text:
        return None
    seconds = float(text) if text.isdecimal() else _span(text)
    if not _SHORTEST_LIFE_S <= seconds <= _LONGEST_LIFE_S:
        raise ApiError(
            400,
            "invalid_header",
            "`Cancel-After` is a span of 5 seconds to a day, such as 90, 5m or 1h30m.",
            param="Cancel-After",
        )
    return seconds


def _span(text: str) -> float:
    return sum(map(parse_duration, _PARTS.findall(text))) if _SPAN.match(text) else 0.0
