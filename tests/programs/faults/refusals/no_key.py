"""Status 401: the gateway's own key is refused."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(401, error("Incorrect API key", code="invalid_api_key")))
