"""Status 500, as of an engine that has died."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import USED, Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(500, error("EngineDeadError", code=500) | USED))
