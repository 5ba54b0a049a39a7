"""Status 502 and a web page, as of a proxy before a server that has gone."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(502, b"<html><h1>502 Bad Gateway</h1></html>", kind="text/html"))
