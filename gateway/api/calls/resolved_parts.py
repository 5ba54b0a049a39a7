"""What a body holds beside text once the files that it names are in it."""

from __future__ import annotations

import msgspec

from adapters.types import Task
from gateway.api.calls.openai import DECODERS, invalid_field, parts_in
from gateway.money.inputs import TEXT_ALONE, InputParts


def parts_in_body(task: Task, body: bytes) -> InputParts:
    """Raises ApiError 400 where a file stands in the place of what is no text."""
    decoder = DECODERS.get(task)
    if decoder is None:
        return TEXT_ALONE
    try:
        return parts_in(decoder.decode(body))
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
