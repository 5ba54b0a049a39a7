"""Status 200, and a choice that is none."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import STREAM_HEAD, USED, Asked, answer, chunk, event

_SAID = {"choices": [None], **USED}
_EVENTS = event(_SAID) + b"data: [DONE]\n\n"


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    if asked.stream:
        writer.write(STREAM_HEAD + chunk(_EVENTS) + chunk(b""))
    else:
        writer.write(answer(200, _SAID))
