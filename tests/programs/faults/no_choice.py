"""Status 200, and an answer or a stream without one choice."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import STREAM_HEAD, Asked, answer

_EVENTS = b'data: {"choices": []}\n\ndata: [DONE]\n\n'


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    if asked.stream:
        writer.write(STREAM_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(_EVENTS), _EVENTS))
    else:
        writer.write(answer(200, {"choices": [], "usage": {"total_tokens": 9}}))
