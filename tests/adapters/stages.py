"""Where the contract suite plays: for each kind, a backend and something real behind it.

A stage says how each scenario is asked of its kind; one that a kind cannot play is left out of
``scenarios``. To add a kind: a ``Stage`` of its own in ``STAGES``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import ClassVar

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.openai.backend import OpenAICompatible, OpenAISettings
from adapters.runpod.backend import RunPod
from adapters.runpod.settings import RunPodSettings
from adapters.settings import Secret
from gateway.clock import SystemClock
from tests.adapters.baseten.stage import BasetenStage, baseten_stage
from tests.adapters.cog.stage import CogStage, cog_stage
from tests.adapters.fake_stage import FakeStage, fake_stage
from tests.adapters.http_json.stage import HttpJsonStage, http_json_stage
from tests.adapters.huggingface.stage import HuggingFaceStage, huggingface_stage
from tests.adapters.local.attached_stage import AttachedStage, attached_stage
from tests.adapters.local.stage import LocalStage, local_stage
from tests.adapters.modal.stage import ModalStage, modal_stage
from tests.adapters.modal.web_stage import ModalWebStage, modal_web_stage
from tests.adapters.potassium.stage import PotassiumStage, potassium_stage
from tests.adapters.replicate.stage import ReplicateStage, replicate_stage
from tests.adapters.runpod.direct_stage import RunPodDirectStage, runpod_direct_stage
from tests.adapters.scenarios import KEY, Scenario, Stage
from tests.adapters.vercel.stage import VercelStage, vercel_stage
from tests.live import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
WORDS = ["spill", "gate", "!"]


# --- an OpenAI-compatible server ----------------------------------------------------------------


class OpenAIStandIn:
    """A Starlette app on uvicorn that does what the model's name says."""

    def __init__(self) -> None:
        self.running = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/health", self.health),
            ]
        )

    async def health(self, _: Request) -> Response:
        return Response()

    async def chat(self, request: Request) -> Response:
        asked = await request.json()
        self.running += 1
        try:
            return await self._answer(request, asked["model"])
        finally:
            self.running -= 1

    async def _answer(self, request: Request, model: str) -> Response:
        if model.startswith("status-"):
            error = {"error": {"message": "as you asked", "code": model}}
            return JSONResponse(error, int(model.removeprefix("status-")))
        if model == "slow":
            while not await request.is_disconnected():
                await asyncio.sleep(0.02)
        if model in ("stream", "cut"):
            return StreamingResponse(events(cut=model == "cut"), media_type="text/event-stream")
        if model == "malformed":
            return Response(b'{"choices": [', media_type="application/json")
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        return JSONResponse({"choices": [{"message": {"content": model}}], "usage": usage})


async def events(*, cut: bool) -> AsyncIterator[bytes]:
    for word in WORDS:
        delta = {"choices": [{"delta": {"content": word}, "finish_reason": None}]}
        yield f"data: {json.dumps(delta)}\n\n".encode()
    if cut:
        raise ConnectionResetError
    yield b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    yield b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":3}}\n\n'
    yield b"data: [DONE]\n\n"


class OpenAIStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(task="chat", body={"model": "hello"}),
        "stream": Scenario(task="chat", body={"model": "stream", "stream": True}, stream=True),
        "slow": Scenario(task="chat", body={"model": "slow"}),
        "cut": Scenario(
            task="chat",
            body={"model": "cut", "stream": True},
            stream=True,
            fails=FailureClass.TRUNCATED,
        ),
        "malformed": Scenario(
            task="chat", body={"model": "malformed"}, fails=FailureClass.MALFORMED
        ),
        **{
            f"status {status}": Scenario(
                task="chat", body={"model": f"status-{status}"}, fails=failure
            )
            for status, failure in {
                400: FailureClass.INVALID,
                401: FailureClass.CREDENTIAL,
                404: FailureClass.GONE,
                413: FailureClass.TOO_LARGE,
                429: FailureClass.OVERLOADED,
                500: FailureClass.FAILED,
                503: FailureClass.OVERLOADED,
                504: FailureClass.TIMEOUT,
            }.items()
        },
    }

    def __init__(self, stand_in: OpenAIStandIn, url: str) -> None:
        self._stand_in = stand_in
        self._url = url

    def backend(self, endpoint: str = "plain") -> Backend:
        settings = OpenAISettings(base_url=self._url, api_key=Secret(KEY))
        return OpenAICompatible("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self._stand_in.running


@contextlib.contextmanager
def openai_stage() -> Iterator[Stage]:
    stand_in = OpenAIStandIn()
    port = free_port()
    config = uvicorn.Config(stand_in.app(), port=port, log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server has started")
    try:
        yield OpenAIStage(stand_in, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(10)


# --- RunPod's own workers behind the spare platform ----------------------------------------------


class Front:
    """``python -m examples.overflow`` as a process."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v2"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.overflow", "--port", str(self.port), *options],
            cwd=ROOT,
            env={**os.environ, "RUNPOD_API_KEY": KEY},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, "the server answers")

    def health(self) -> dict[str, dict[str, int]]:
        request = urllib.request.Request(
            self.url + "/overflow/health", headers={"Authorization": f"Bearer {KEY}"}
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            found: dict[str, dict[str, int]] = json.load(response)
        return found

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(15)

    def _answers(self) -> bool:
        assert self.process.poll() is None, "the front has ended"
        try:
            return bool(self.health())
        except (urllib.error.URLError, ConnectionError):
            return False


class RunPodStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"echo": {"hello": [1, 2]}}),
        "openai": Scenario(task="chat", body={"model": "m"}),
        "stream": Scenario(body={"stream": 3}, stream=True, endpoint="stream"),
        "openai stream": Scenario(
            task="chat", body={"model": "m", "stream": True}, stream=True, endpoint="stream"
        ),
        "slow": Scenario(body={"sleep": 60}),
        "raises": Scenario(body={"fail": "boo"}, fails=FailureClass.FAILED),
        "refuses": Scenario(body={"refuse": "no"}, fails=FailureClass.FAILED),
        "worker dies": Scenario(body={"exit": 3}, fails=FailureClass.FAILED),
        "raises in a stream": Scenario(
            body={"stream": 2, "fail": "boo"},
            stream=True,
            endpoint="stream",
            fails=FailureClass.FAILED,
        ),
        "error frame": Scenario(
            task="chat",
            body={"model": "broken", "stream": True},
            stream=True,
            endpoint="stream",
            fails=FailureClass.INVALID,
        ),
        "wrong key": Scenario(body={}, endpoint="wrong key", fails=FailureClass.CREDENTIAL),
        "no such endpoint": Scenario(body={}, endpoint="nowhere", fails=FailureClass.GONE),
    }

    def __init__(self, fronts: dict[str, Front]) -> None:
        self._fronts = fronts

    def backend(self, endpoint: str = "plain") -> Backend:
        front = self._fronts["stream" if endpoint == "stream" else "plain"]
        settings = RunPodSettings(
            endpoint="nowhere" if endpoint == "nowhere" else "overflow",
            api_key=Secret("wrong" if endpoint == "wrong key" else KEY),
            base_url=front.url,
            management_url=front.url,
            wait=1.0,
            poll_every=0.05,
        )
        return RunPod("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self._fronts[endpoint].health()["jobs"]["inProgress"]


@contextlib.contextmanager
def runpod_stage() -> Iterator[Stage]:
    options = ["--preload", "--idle-timeout", "600", "--worker"]
    fronts = {
        "plain": Front(*options, "tests.programs.runpod.worker"),
        "stream": Front(*options, "tests.programs.runpod.stream_worker"),
    }
    try:
        yield RunPodStage(fronts)
    finally:
        for front in fronts.values():
            front.close()


STAGES = {
    "cog": cog_stage,
    "fake": fake_stage,
    "http": http_json_stage,
    "local": local_stage,
    "local_attached": attached_stage,
    "modal": modal_stage,
    "modal_web": modal_web_stage,
    "openai": openai_stage,
    "vercel": vercel_stage,
    "baseten": baseten_stage,
    "huggingface": huggingface_stage,
    "potassium": potassium_stage,
    "replicate": replicate_stage,
    "runpod": runpod_stage,
    "runpod_direct": runpod_direct_stage,
}
SCENARIOS: dict[str, dict[str, Scenario]] = {
    "cog": CogStage.scenarios,
    "fake": FakeStage.scenarios,
    "http": HttpJsonStage.scenarios,
    "local": LocalStage.scenarios,
    "local_attached": AttachedStage.scenarios,
    "modal": ModalStage.scenarios,
    "modal_web": ModalWebStage.scenarios,
    "openai": OpenAIStage.scenarios,
    "vercel": VercelStage.scenarios,
    "baseten": BasetenStage.scenarios,
    "huggingface": HuggingFaceStage.scenarios,
    "potassium": PotassiumStage.scenarios,
    "replicate": ReplicateStage.scenarios,
    "runpod": RunPodStage.scenarios,
    "runpod_direct": RunPodDirectStage.scenarios,
}
