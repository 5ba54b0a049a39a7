"""Status 503 whose body stops after five bytes of a hundred."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import NEVER_S, Asked


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 503 No\r\ncontent-length: 100\r\n\r\nhello")
    await asyncio.sleep(NEVER_S)
