"""A small Inference Endpoints of the tests: the proxy before an endpoint, and its management API.

What it does stands in Hugging Face's documents and in the requests of ``huggingface_hub``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

NAME = "/v2/endpoint/acme/minilm"


class Endpoint:
    """``boot`` is how long a replica takes to come up; ``full`` refuses every call."""

    def __init__(self, key: str, boot: float = 0.2) -> None:
        self._key = key
        self._boot = boot
        self.state = "running"
        self.replicas = {"minReplica": 0, "maxReplica": 2}
        self.full = False
        self.running = 0
        self.seen: list[str] = []
        self.boots = 0
        self._booting: asyncio.Task[None] | None = None

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/generate", self.generate, methods=["POST"]),
                Route("/generate_stream", self.generate_stream, methods=["POST"]),
                Route("/embed", self.embed, methods=["POST"]),
                Route("/health", self.health),
                Route(NAME, self.manage, methods=["GET", "PUT"]),
                Route(NAME + "/{verb}", self.manage, methods=["POST"]),
            ]
        )

    # --- the proxy -------------------------------------------------------------------------

    async def _admit(self, request: Request) -> Response | None:
        """None once a replica takes the call."""
        if request.headers.get("authorization") != f"Bearer {self._key}":
            return JSONResponse({"error": "Invalid username or password."}, 401)
        if self.full:
            return JSONResponse({"error": "queue is full"}, 503)
        if self.state == "running":
            return None
        hold = int(request.headers.get("x-scale-up-timeout", "0"))
        self.seen.append(f"held {hold}")
        if self.state == "scaledToZero":
            self._begin_boot()
        if self._booting is not None and hold:
            await asyncio.wait([self._booting], timeout=hold)
        if self.state == "running":
            return None
        return JSONResponse({"error": "503 Service Unavailable"}, 503)

    def _begin_boot(self) -> None:
        self.state = "initializing"
        self.boots += 1
        self._booting = asyncio.ensure_future(self._boot_one())

    async def _boot_one(self) -> None:
        await asyncio.sleep(self._boot)
        self.state = "running"

    async def health(self, request: Request) -> Response:
        return await self._admit(request) or Response()

    async def chat(self, request: Request) -> Response:
        refusal = await self._admit(request)
        asked = await request.json()
        if refusal is not None:
            return refusal
        error = _told_to_fail(asked["model"])
        if error is not None:
            return error
        if asked.get("stream"):
            return StreamingResponse(_completion(), media_type="text/event-stream")
        return JSONResponse(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": asked["model"],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "hello"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
            }
        )

    # --- TGI and TEI -----------------------------------------------------------------------

    async def generate(self, request: Request) -> Response:
        refusal = await self._admit(request)
        asked = await request.json()
        if refusal is not None:
            return refusal
        self.running += 1
        try:
            while asked["inputs"] == "slow" and not await request.is_disconnected():
                await asyncio.sleep(0.02)
        finally:
            self.running -= 1
        error = _told_to_fail(asked["inputs"])
        if error is not None:
            return error
        details = {"finish_reason": "length", "generated_tokens": 3, "seed": None}
        return JSONResponse({"generated_text": asked["inputs"], "details": details})

    async def generate_stream(self, request: Request) -> Response:
        refusal = await self._admit(request)
        asked = await request.json()
        if refusal is not None:
            return refusal
        error = _told_to_fail(asked["inputs"])
        if error is not None:
            return error
        return StreamingResponse(_tokens(asked["inputs"]), media_type="text/event-stream")

    async def embed(self, request: Request) -> Response:
        refusal = await self._admit(request)
        asked = (await request.json())["inputs"]
        if refusal is not None:
            return refusal
        texts = [asked] if isinstance(asked, str) else asked
        if len(texts) > 4:
            error = {"error": "batch size 5 > maximum allowed batch size 4"}
            return JSONResponse({**error, "error_type": "validation"}, 413)
        return JSONResponse([[0.5, 0.25] for _ in texts])

    # --- management ------------------------------------------------------------------------

    async def manage(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self._key}":
            return JSONResponse({"error": "Invalid username or password."}, 401)
        verb = request.path_params.get("verb", request.method)
        self.seen.append(verb)
        if verb == "PUT":
            body = await request.json()
            self.replicas |= body["compute"]["scaling"]
            if self.replicas["minReplica"] and self.state == "scaledToZero":
                self._begin_boot()
        elif verb == "pause":
            self.state = "paused"
        elif verb == "resume" and self.state == "running":
            return JSONResponse({"error": "Endpoint is already running"}, 400)
        elif verb == "resume":
            self._begin_boot()
        elif verb == "scale-to-zero":
            self.state = "scaledToZero"
        return JSONResponse(self._shown())

    def _shown(self) -> dict[str, Any]:
        up = int(self.state == "running")
        return {
            "name": "minilm",
            "type": "protected",
            "healthRoute": "/health",
            "model": {"repository": "m", "framework": "pytorch", "revision": "1", "task": None},
            "compute": {"scaling": self.replicas},
            "status": {
                "state": self.state,
                "readyReplica": up,
                "targetReplica": up or int(self.state == "initializing"),
                "createdAt": "2026-11-22T12:00:00Z",
                "updatedAt": "2026-11-22T12:00:00Z",
                "message": "",
            },
        }


def _told_to_fail(word: str) -> Response | None:
    """``status-424`` and the like."""
    if not word.startswith("status-"):
        return None
    kinds = {422: "validation", 424: "generation", 429: "overloaded"}
    status = int(word.removeprefix("status-"))
    error = {"error": "as you asked", "error_type": kinds.get(status, "other")}
    return JSONResponse(error, status)


async def _tokens(asked: str) -> AsyncIterator[str]:
    words = ["spill", " gate", "!"]
    for index, word in enumerate(words, 1):
        last = index == len(words)
        if last and asked == "cut":
            return
        if last and asked == "breaks":
            told: dict[str, Any] = {"error": "boo", "error_type": "generation"}
            yield f"data:{json.dumps(told)}\n\n"
            return
        token = {"id": index, "text": word, "logprob": -0.5, "special": False}
        told = {"index": index, "token": token, "generated_text": None, "details": None}
        if last:
            details = {"finish_reason": "length", "generated_tokens": 3, "input_length": 2}
            told |= {"generated_text": "".join(words), "details": details}
        yield f"data:{json.dumps(told)}\n\n"
        await asyncio.sleep(0.01)


async def _completion() -> AsyncIterator[str]:
    for word, reason in (("he", None), ("llo", None), ("", "stop")):
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": reason}
        told = {"id": "1", "created": 1, "model": "m", "choices": [choice]}
        yield f"data: {json.dumps(told)}\n\n"
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    last = {"id": "1", "created": 1, "model": "m", "choices": [], "usage": usage}
    yield f"data: {json.dumps(last)}\n\n"
    yield "data: [DONE]\n\n"
