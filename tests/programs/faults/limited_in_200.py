"""Status 200, and a refusal of 429 in the answer or in the first event of the stream."""

from __future__ import annotations

import asyncio
import json

from tests.programs.faults.speech import STREAM_HEAD, Asked, answer, error

_ERROR = error("slow down", code=429)
_EVENT = b"event: error\ndata: " + json.dumps(_ERROR).encode() + b"\n\n"


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    if asked.stream:
        writer.write(STREAM_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(_EVENT), _EVENT))
    else:
        writer.write(answer(200, _ERROR))
