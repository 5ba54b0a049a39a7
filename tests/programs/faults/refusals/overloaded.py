"""Status 503, and the wish to be left alone for half a minute."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import USED, Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(503, error("no room") | USED, "retry-after: 30"))
