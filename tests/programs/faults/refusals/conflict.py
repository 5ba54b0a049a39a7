"""Status 409: it is at capacity, or something of the request's is in the way."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(409, error("conflict")))
