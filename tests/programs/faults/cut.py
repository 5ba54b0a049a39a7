"""A head, and then the end of the connection."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import STREAM_HEAD, Asked, answer


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM_HEAD if asked.stream else answer(200, size=100))
    await writer.drain()
    writer.close()
