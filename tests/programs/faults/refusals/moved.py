"""Status 307 to another place, which nobody follows with a key."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(307, b"", "location: http://127.0.0.1:1/v1"))
