"""Status 403: what was written is against the rules."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(403, error("It was flagged.", code="content_policy_violation")))
