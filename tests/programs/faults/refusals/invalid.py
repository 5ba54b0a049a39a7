"""Status 400: a field that is none."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import USED, Asked, answer, error


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(400, error("no such field", param="temprature") | USED))
