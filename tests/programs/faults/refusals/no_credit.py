"""Status 402: the account cannot pay for so much."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(402, error("You can only afford 4000 tokens.", code=402)))
