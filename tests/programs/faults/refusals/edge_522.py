"""Status 522 and a web page, as of a network that does not reach its origin."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(522, b"<html>522</html>", kind="text/html"))
