"""A head, and then nothing."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import NEVER_S, STREAM_HEAD, Asked, answer


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM_HEAD if asked.stream else answer(200, size=100))
    await asyncio.sleep(NEVER_S)
