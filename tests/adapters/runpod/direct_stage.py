"""The contract's stage for an endpoint behind RunPod's load balancer: a worker's own server.

Beside it the management plane, as far as a probe asks it. Paths and headers are the platform's;
what is in an answer is the worker's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.runpod.backend import RunPod
from adapters.runpod.settings import RunPodSettings
from adapters.settings import Secret
from gateway.clock import SystemClock
from tests.adapters.scenarios import KEY, Scenario, Stage
from tests.adapters.served import served

_WORKER = {"X-Runpod-Worker-Id": "w1"}


class Balanced:
    """A balancer with one worker, which does what its input says."""

    def __init__(self) -> None:
        self.running = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v2/serverless/ep/workers", self.workers),
                Route("/generate", self.generate, methods=["POST"]),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
            ]
        )

    async def workers(self, _: Request) -> Response:
        return JSONResponse({"workers": [], "summary": {"idle": 1, "total": 1}})

    async def generate(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"error": "unauthorized"}, 401)
        asked = await request.json()
        self.running += 1
        try:
            while "slow" in asked and not await request.is_disconnected():
                await asyncio.sleep(0.02)
        finally:
            self.running -= 1
        if "platform" in asked:
            return JSONResponse({"error": asked["said"]}, asked["platform"])
        if "status" in asked:
            return JSONResponse({"error": "as you asked"}, asked["status"], _WORKER)
        return JSONResponse({"echo": asked.get("echo")}, headers=_WORKER)

    async def chat(self, request: Request) -> Response:
        asked = await request.json()
        if not asked.get("stream"):
            usage = {"prompt_tokens": 3, "completion_tokens": 1}
            answer = {"choices": [{"message": {"content": "hello"}}], "usage": usage}
            return JSONResponse(answer, headers=_WORKER)
        events = words(cut=asked["model"] == "cut")
        return StreamingResponse(events, headers=_WORKER, media_type="text/event-stream")


async def words(*, cut: bool) -> AsyncIterator[bytes]:
    for word in ("spill", "gate"):
        delta = {"choices": [{"delta": {"content": word}, "finish_reason": None}]}
        yield f"data: {json.dumps(delta)}\n\n".encode()
    if cut:
        raise ConnectionResetError
    yield b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    yield b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    yield b"data: [DONE]\n\n"


class RunPodDirectStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"echo": "hello"}),
        "openai": Scenario(task="chat", body={"model": "m"}),
        "openai stream": Scenario(task="chat", body={"model": "m", "stream": True}, stream=True),
        "slow": Scenario(body={"slow": 60}),
        "cut": Scenario(
            task="chat",
            body={"model": "cut", "stream": True},
            stream=True,
            fails=FailureClass.TRUNCATED,
        ),
        "refused input": Scenario(body={"status": 400}, fails=FailureClass.INVALID),
        "worker fails": Scenario(body={"status": 500}, fails=FailureClass.FAILED),
        "no worker": Scenario(
            body={"platform": 500, "said": "no workers available"}, fails=FailureClass.OVERLOADED
        ),
        "no port": Scenario(
            body={"platform": 502, "said": "bad gateway"}, fails=FailureClass.UNREACHABLE
        ),
        "wrong key": Scenario(body={}, endpoint="wrong key", fails=FailureClass.CREDENTIAL),
    }

    def __init__(self, balanced: Balanced, url: str) -> None:
        self._balanced = balanced
        self._url = url

    def backend(self, endpoint: str = "plain") -> Backend:
        settings = RunPodSettings(
            endpoint="ep",
            api_key=Secret("wrong" if endpoint == "wrong key" else KEY),
            mode="load_balancer",
            balancer_url=self._url,
            management_url=self._url + "/v2",
            infer_path="/generate",
        )
        return RunPod("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self._balanced.running


@contextlib.contextmanager
def runpod_direct_stage() -> Iterator[Stage]:
    balanced = Balanced()
    with served(balanced.app()) as url:
        yield RunPodDirectStage(balanced, url)
