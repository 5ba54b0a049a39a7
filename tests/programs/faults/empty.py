"""Status 200 and nothing."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200))
