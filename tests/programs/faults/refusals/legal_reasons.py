"""Status 451, which says neither whose fault it is nor what another server would do."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(451, error("not in this country")))
