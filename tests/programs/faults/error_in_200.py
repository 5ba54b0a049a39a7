"""Status 200, and an error instead of an answer."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import USED, Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, error("the engine is gone", code=502) | USED))
