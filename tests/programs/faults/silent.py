"""Nothing at all."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import NEVER_S, Asked


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(NEVER_S)
