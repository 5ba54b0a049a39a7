"""The contract's stage for web endpoints of ``kind: modal``: the edge as Modal describes it.

It holds an exchange for a while, then answers 303 to the same path with the call's id; its
refusals are text.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.modal.backend import Modal
from adapters.modal.settings import ModalSettings
from adapters.settings import Secret
from gateway.clock import SystemClock
from tests.adapters.scenarios import KEY, Scenario, Stage
from tests.adapters.served import served

CALL_ID = "__modal_function_call_id"


class Edge:
    """``hops`` in a body says how many redirects come before the answer."""

    def __init__(self) -> None:
        self.running = 0
        self.seen: list[tuple[str, bytes]] = []
        self.calls: dict[str, dict[str, Any]] = {}

    def app(self) -> Starlette:
        methods = ["GET", "POST"]
        return Starlette(
            routes=[
                Route("/up", self.up),
                Route("/v1/chat/completions", self.endpoint, methods=methods),
                Route("/predict", self.endpoint, methods=methods),
            ]
        )

    async def up(self, _: Request) -> Response:
        return Response()

    async def endpoint(self, request: Request) -> Response:
        data = await request.body()
        self.seen.append((request.method, data))
        if request.headers.get("modal-key") != "wk-1" or request.headers.get("modal-secret") != KEY:
            return PlainTextResponse("modal-http: missing credentials for proxy auth", 401)
        call_id = request.query_params.get(CALL_ID) or f"fc-{len(self.calls)}"
        asked = self.calls.setdefault(call_id, json.loads(data) if data else {})
        if asked.get("hops", 0) > 0:
            asked["hops"] -= 1
            there = asked.get("elsewhere", "") + f"{request.url.path}?{CALL_ID}={call_id}"
            return RedirectResponse(there, 303)
        self.running += 1
        try:
            return await self._answer(request, asked)
        finally:
            self.running -= 1

    async def _answer(self, request: Request, asked: dict[str, Any]) -> Response:
        while asked.get("slow") and not await request.is_disconnected():
            await asyncio.sleep(0.02)
        if "status" in asked:
            return JSONResponse({"error": "as you asked"}, asked["status"])
        if "broken" in asked:
            return Response(b'{"result": [', media_type="application/json")
        if request.headers.get("accept") == "text/event-stream":
            return StreamingResponse(_events(asked), media_type="text/event-stream")
        if "model" in asked:
            return JSONResponse({"choices": [{"text": ""}]})
        return JSONResponse(asked.get("echo"))


async def _events(asked: dict[str, Any]) -> AsyncIterator[bytes]:
    for word in ("a", "b", "c"):
        delta = {"choices": [{"delta": {"content": word}, "finish_reason": None}]}
        yield f"data: {json.dumps(delta)}\n\n".encode()
        await asyncio.sleep(0)
    if "cut" in asked:
        raise ConnectionResetError
    if "model" in asked:
        yield b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class ModalWebStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"echo": "hello"}),
        "openai": Scenario(task="chat", body={"model": "m"}),
        "stream": Scenario(body={}, stream=True),
        "openai stream": Scenario(task="chat", body={"model": "m", "stream": True}, stream=True),
        "late stream": Scenario(body={"hops": 2}, stream=True),
        "slow": Scenario(body={"slow": True}),
        "slow for ever": Scenario(body={"hops": 100}, fails=FailureClass.TIMEOUT),
        "sent elsewhere": Scenario(
            body={"hops": 1, "elsewhere": "http://localhost:9"}, fails=FailureClass.AMBIGUOUS
        ),
        "cut": Scenario(body={"cut": True}, stream=True, fails=FailureClass.TRUNCATED),
        "broken": Scenario(body={"broken": True}, fails=FailureClass.MALFORMED),
        "refused": Scenario(body={"status": 422}, fails=FailureClass.INVALID),
        "no room": Scenario(body={"status": 429}, stream=True, fails=FailureClass.OVERLOADED),
        "wrong key": Scenario(body={}, endpoint="wrong key", fails=FailureClass.CREDENTIAL),
    }

    def __init__(self, edge: Edge, url: str) -> None:
        self.edge = edge
        self._url = url

    def backend(self, endpoint: str = "plain") -> Backend:
        settings = ModalSettings(
            url=self._url,
            path="/predict",
            health_path="/up",
            proxy_key=Secret("wrong" if endpoint == "wrong key" else "wk-1"),
            proxy_secret=Secret(KEY),
            keep_alive=4.0,
            openai=True,
        )
        return Modal("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self.edge.running


@contextlib.contextmanager
def edge_running() -> Iterator[tuple[Edge, str]]:
    edge = Edge()
    with served(edge.app()) as url:
        yield edge, url


@contextlib.contextmanager
def modal_web_stage() -> Iterator[Stage]:
    with edge_running() as (edge, url):
        yield ModalWebStage(edge, url)
