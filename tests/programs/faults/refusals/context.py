"""Status 400: more tokens than the model takes."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    said = "This model's maximum context length is 4096 tokens."
    writer.write(answer(400, error(said, code="context_length_exceeded", param="messages")))
