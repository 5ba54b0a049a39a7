"""Status 200 and a web page."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, b"<html>maintenance</html>", kind="text/html"))
