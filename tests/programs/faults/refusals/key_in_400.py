"""Status 400: our key is none, as Gemini says it."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error

_DETAIL = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
_SAID = error("API key not valid.", code=400, status="INVALID_ARGUMENT", details=[_DETAIL])


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(400, [_SAID]))
