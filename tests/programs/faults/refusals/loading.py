"""Status 503 while a model loads."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(503, error("Model is loading")))
