"""The application's side of its beginning and end, as its server asks for them
(https://asgi.readthedocs.io/en/latest/specs/lifespan.html)."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable

from starlette.types import Receive, Send

Lifespan = Callable[[], contextlib.AbstractAsyncContextManager[None]]


async def live(lifespan: Lifespan, receive: Receive, send: Send) -> None:
    """From the server's first word to its last; what fails is told to the server, and raised."""
    await receive()
    event = "startup"
    try:
        async with lifespan():
            await send({"type": "lifespan.startup.complete"})
            event = "shutdown"
            await receive()
    except BaseException:
        await send({"type": f"lifespan.{event}.failed", "message": traceback.format_exc()})
        raise
    await send({"type": "lifespan.shutdown.complete"})
