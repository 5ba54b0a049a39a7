"""Status 429, and seven seconds to wait."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    body = error("slow down", type="rate_limit_error", code="rate_limit_exceeded")
    writer.write(answer(429, body, "retry-after: 7"))
