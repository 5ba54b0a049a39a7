"""The contract's stage for ``kind: http``: a server with a JSON of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.http_json import HttpJson, HttpJsonSettings
from adapters.settings import Secret
from gateway.clock import SystemClock
from tests.adapters.scenarios import KEY, Scenario, Stage
from tests.adapters.served import served


class JsonServer:
    """Wants ``{"inputs": ...}`` and answers ``{"result": [{"value": ...}]}``."""

    def __init__(self) -> None:
        self.running = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/predict", self.predict, methods=["POST"]),
                Route("/events", self.events, methods=["POST"]),
                Route("/up", self.up),
            ]
        )

    async def up(self, _: Request) -> Response:
        return Response()

    async def predict(self, request: Request) -> Response:
        asked = (await request.json())["inputs"]
        self.running += 1
        try:
            while asked.get("slow") and not await request.is_disconnected():
                await asyncio.sleep(0.02)
        finally:
            self.running -= 1
        if request.headers.get("x-key") != KEY:
            return JSONResponse({"oops": "who are you"}, 418)
        if "status" in asked:
            return JSONResponse({"error": "as you asked"}, asked["status"])
        if "fault" in asked:
            return JSONResponse({"fault": {"message": asked["fault"]}})
        if "broken" in asked:
            return Response(b'{"result": [', media_type="application/json")
        value = {"choices": [{"text": ""}]} if "model" in asked else asked.get("echo")
        return JSONResponse({"result": [{"value": value}], "took": 0.25, "fault": None})

    async def events(self, request: Request) -> Response:
        asked = (await request.json())["inputs"]
        if "status" in asked:
            return JSONResponse({"error": "as you asked"}, asked["status"])
        return StreamingResponse(_words(cut="cut" in asked), media_type="text/event-stream")


async def _words(*, cut: bool) -> AsyncIterator[bytes]:
    for word in ("a", "b", "c"):
        yield b'data: {"word": "%b"}\n\n' % word.encode()
        await asyncio.sleep(0)
    if cut:
        raise ConnectionResetError


class HttpJsonStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"echo": "hello"}),
        "openai": Scenario(task="chat", body={"model": "m"}),
        "stream": Scenario(body={}, stream=True),
        "slow": Scenario(body={"slow": True}),
        "cut": Scenario(body={"cut": True}, stream=True, fails=FailureClass.TRUNCATED),
        "fault in a good status": Scenario(body={"fault": "boo"}, fails=FailureClass.FAILED),
        "broken": Scenario(body={"broken": True}, fails=FailureClass.MALFORMED),
        "status that the policy names": Scenario(body={"status": 599}, fails=FailureClass.LOADING),
        "refused stream": Scenario(
            body={"status": 429}, stream=True, fails=FailureClass.OVERLOADED
        ),
        "wrong key": Scenario(body={}, endpoint="wrong key", fails=FailureClass.CREDENTIAL),
    }

    def __init__(self, server: JsonServer, url: str) -> None:
        self._server = server
        self._url = url

    def backend(self, endpoint: str = "plain") -> Backend:
        settings = HttpJsonSettings(
            base_url=self._url,
            path="/predict",
            stream_path="/events",
            health_path="/up",
            secret_headers={"X-Key": Secret("wrong" if endpoint == "wrong key" else KEY)},
            request={"inputs": "$body"},
            response="result.0.value",
            error="fault",
            seconds="took",
            statuses={"418": "credential", "599": "loading"},
            openai=True,
        )
        return HttpJson("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self._server.running


@contextlib.contextmanager
def http_json_stage() -> Iterator[Stage]:
    server = JsonServer()
    with served(server.app()) as url:
        yield HttpJsonStage(server, url)
