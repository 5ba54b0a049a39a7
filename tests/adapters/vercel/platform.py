"""A small AI Gateway of the tests: OpenAI's protocol, with costs in the answers and to look up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

GENERATION = "gen_01KGF377728Q76J66SN7WNPNNP"
STATUSES = {
    400: "invalid_request_error",
    403: "forbidden",
    404: "model_not_found",
    408: "timeout",
    424: "failed_dependency",
    429: "rate_limit_exceeded",
    500: "internal_server_error",
}


class AIGateway:
    """Does what the model's name says; ``/v1/generation`` knows a call after ``late`` questions.
    ``silent`` leaves the cost out of answers."""

    def __init__(self, key: str) -> None:
        self._key = key
        self.silent = False
        self.late = 1
        self.asked: list[dict[str, Any]] = []
        self.looked_up = 0
        self.results: list[dict[str, Any]] = []
        self.reports: list[dict[str, str]] = []
        self.running = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/embeddings", self.embed, methods=["POST"]),
                Route("/v1/generation", self.generation),
                Route("/v1/credits", self.credits),
                Route("/v1/report", self.report),
            ]
        )

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {self._key}":
            return None
        error = {"message": "Invalid API key", "type": "authentication_error"}
        return JSONResponse({"error": error}, 401)

    async def chat(self, request: Request) -> Response:
        asked = await request.json()
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        self.asked.append(asked)
        model = asked["model"].removeprefix("acme/")
        if model.startswith("status-"):
            status = int(model.removeprefix("status-"))
            error = {"message": "as you asked", "type": STATUSES[status], "code": status}
            told = {"error": error, "generationId": GENERATION}
            return JSONResponse(told, status)
        self.running += 1
        try:
            while model == "slow" and not await request.is_disconnected():
                await asyncio.sleep(0.02)
        finally:
            self.running -= 1
        if asked.get("stream"):
            events = self._events(model, asked)
            return StreamingResponse(events, media_type="text/event-stream")
        message = {"role": "assistant", "content": model}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse({**self._begun("chat.completion"), "choices": [choice], **self._paid()})

    async def embed(self, request: Request) -> Response:
        refusal = self._refusal(request)
        data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
        usage = {"prompt_tokens": 2, "total_tokens": 2}
        told = {"object": "list", "data": data, "model": "acme/m", "usage": usage}
        return refusal or JSONResponse(told)

    async def generation(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        self.looked_up += 1
        if request.query_params["id"] != GENERATION or self.looked_up <= self.late:
            return JSONResponse({"error": {"message": "not found", "type": "not_found"}}, 404)
        return JSONResponse({"data": {"id": GENERATION, "total_cost": 0.000573, "is_byok": False}})

    async def credits(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse({"balance": "95.50", "total_used": "4.50"})

    async def report(self, request: Request) -> Response:
        self.reports.append(dict(request.query_params))
        return self._refusal(request) or JSONResponse({"results": self.results})

    def _begun(self, kind: str) -> dict[str, Any]:
        return {"id": GENERATION, "object": kind, "created": 1770033226, "model": "acme/m"}

    def _paid(self) -> dict[str, Any]:
        usage = {"prompt_tokens": 16, "completion_tokens": 35, "total_tokens": 51}
        cost = {} if self.silent else {"cost": 0.000573, "is_byok": False}
        return {"usage": {**usage, **cost}, "generationId": GENERATION}

    async def _events(self, model: str, asked: dict[str, Any]) -> AsyncIterator[str]:
        begun = self._begun("chat.completion.chunk")
        for word in ("he", "llo"):
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            yield f"data: {json.dumps({**begun, 'choices': [choice]})}\n\n"
        if model == "cut":
            return
        wants = asked.get("stream_options", {}).get("include_usage")
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        paid = self._paid() if wants else {}
        yield f"data: {json.dumps({**begun, 'choices': [last], **paid})}\n\n"
        yield "data: [DONE]\n\n"
