"""The connection is reset without a byte."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
