"""Status 400: a proxy's own page."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer

_PAGE = b"<html><h1>400 Bad Request</h1></html>"


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(400, _PAGE, kind="text/html"))
