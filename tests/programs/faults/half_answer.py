"""A good head, and a body that stops."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import NEVER_S, STREAM_HEAD, Asked


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    if asked.stream:
        writer.write(STREAM_HEAD + b"5\r\ndata:\r\n")
    else:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
    await asyncio.sleep(NEVER_S)
