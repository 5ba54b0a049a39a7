"""The service that the kind is for, small, on a free port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


class Service:
    """Does what a text says: ``status 503``, ``slow``, ``cut``, ``malformed``, or says it."""

    def __init__(self, key: str) -> None:
        self._key = key
        self.running = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/shout", self.shout, methods=["POST"]),
                Route("/health", lambda _: Response()),
            ]
        )

    async def shout(self, request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer {self._key}":
            return JSONResponse({"error": f"not {request.headers['authorization']}"}, 401)
        text = (await request.json()).get("text", "")
        if text.startswith("status "):
            return JSONResponse({"error": "as you asked"}, int(text.removeprefix("status ")))
        self.running += 1
        try:
            if text == "slow":
                await gone(request)
        finally:
            self.running -= 1
        if "text/event-stream" in request.headers.get("accept", ""):
            return StreamingResponse(words(text), media_type="text/event-stream")
        body = b'{"said":' if text == "malformed" else json.dumps({"said": text.upper()}).encode()
        return Response(body, media_type="application/json")


async def gone(request: Request) -> None:
    """Until whoever asked has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def words(text: str) -> AsyncIterator[str]:
    for word in text.upper().split():
        yield f"data: {json.dumps(word)}\n\n"
        await asyncio.sleep(0.01)
        if word == "CUT":
            return
    yield "data: [END]\n\n"


@contextlib.contextmanager
def serving(key: str) -> Iterator[tuple[Service, str]]:
    """A service that runs, and its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    service = Service(key)
    config = uvicorn.Config(service.app(), port=port, log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end, "the service did not start in time"
        time.sleep(0.02)
    try:
        yield service, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
