"""Endpoints over HTTP that run each call for as long as it says, and stop where nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


class StandInMachine:
    """One of them. ``name``: under which calls say how many seconds they run there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = 0.0
        """That it has run calls for, those among them that were left."""
        self.calls = 0

    def application(self) -> Starlette:
        return Starlette(routes=[Route("/", self._run, methods=["POST"])])

    async def _run(self, request: Request) -> JSONResponse:
        seconds, began = (await request.json())[self.name], time.monotonic()
        self.calls += 1
        left = asyncio.create_task(_left(request))
        try:
            await asyncio.wait((left,), timeout=seconds)
        finally:
            left.cancel()
            self.seconds += time.monotonic() - began
        return JSONResponse({})


async def _left(request: Request) -> None:
    """Until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


@contextlib.asynccontextmanager
async def served(app: Starlette, port: int) -> AsyncIterator[None]:
    """Over HTTP at 127.0.0.1, until the end."""
    config = uvicorn.Config(app, port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await serving
