"""Status 200, and words of a failure in no known shape."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import STREAM_HEAD, Asked, answer, chunk, event

_SAID = {"message": "Internal error", "request_id": "r-1"}
_EVENTS = event(_SAID) + b"data: [DONE]\n\n"


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    if asked.stream:
        writer.write(STREAM_HEAD + chunk(_EVENTS) + chunk(b""))
    else:
        writer.write(answer(200, _SAID))
