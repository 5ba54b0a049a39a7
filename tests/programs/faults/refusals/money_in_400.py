"""Status 400: the account is empty, as Anthropic says it."""

from __future__ import annotations

import asyncio

from tests.programs.faults.speech import Asked, answer, error

_SAID = error("Your credit balance is too low to access the API.", type="invalid_request_error")


async def play(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(400, _SAID))
