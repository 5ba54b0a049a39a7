"""Status 529, the overload of one provider."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(529, error("Overloaded", type="overloaded_error")))
