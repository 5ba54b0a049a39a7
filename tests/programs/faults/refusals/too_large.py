"""Status 413."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(413, error("Payload Too Large")))
