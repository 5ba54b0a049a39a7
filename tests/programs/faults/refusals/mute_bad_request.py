"""Status 400: nothing is said."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer

_NOTHING = b""


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(400, _NOTHING))
