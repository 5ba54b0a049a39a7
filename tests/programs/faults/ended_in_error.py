"""Status 200, and an answer whose only choice ended because the engine failed."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import STREAM_HEAD, USED, Asked, answer, event

_EVENT = event({"choices": [{"delta": {}, "finish_reason": "error"}], **USED})
_CHOICE = {"message": {"content": "hel"}, "finish_reason": "error"}


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    if asked.stream:
        writer.write(STREAM_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(_EVENT), _EVENT))
    else:
        writer.write(answer(200, {"choices": [_CHOICE], **USED}))
