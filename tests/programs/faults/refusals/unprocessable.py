"""Status 422, as FastAPI has it."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    detail = [{"loc": ["body", "n"], "msg": "too many", "type": "value_error"}]
    writer.write(answer(422, {"detail": detail}))
