"""How an ASGI app begins before its first request, and ends after its last
(https://asgi.readthedocs.io/en/latest/specs/lifespan.html)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from starlette.types import ASGIApp, Message, Scope

_log = logging.getLogger("server")


class Lifespan:
    """That of one app."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        """What the app leaves for its requests."""
        self._app = app
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Future[bool]
        """Whether what was asked last is done."""
        self._task: asyncio.Task[None] | None = None
        self._has_told = False
        """The app has said itself what failed."""

    async def startup(self) -> bool:
        """Whether the app could begin; what kept it from that is in the log."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        return await self._ask("startup", self._task)

    async def shutdown(self) -> bool:
        """The app closes what it has opened, unless it has failed before; what kept it from that
        is in the log."""
        if self._task is None or self._task.done():
            return True
        return await self._ask("shutdown", self._task)

    def give_up(self) -> None:
        """Nobody waits for the app any longer."""
        if self._task is not None:
            self._task.cancel()

    async def _ask(self, event: str, task: asyncio.Task[None]) -> bool:
        self._said = asyncio.get_running_loop().create_future()
        self._asked.put_nowait({"type": f"lifespan.{event}"})
        await asyncio.wait((self._said, task), return_when=asyncio.FIRST_COMPLETED)
        return self._said.done() and self._said.result()

    async def _run(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._asked.get, self._send)
        except Exception as error:
            if not self._has_told:
                _log.error("the app's lifespan has failed", exc_info=error)

    async def _send(self, message: Message) -> None:
        if self._said.done():
            raise RuntimeError(f"{message['type']} was sent where it has no place")
        if why := message.get("message"):
            _log.error(why)
        is_done = message["type"].endswith(".complete")
        self._has_told = not is_done
        self._said.set_result(is_done)
