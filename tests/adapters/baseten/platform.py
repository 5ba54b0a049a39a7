"""A small Baseten of the tests: a model's host, asynchronous requests, and the management API.

What it does stands in Baseten's documents; no client of theirs for these routes could be run.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

PLACES = ("/environments/{place}", "/development", "/deployment/{place}")


class Model:
    """``boot`` is how long a replica takes to wake. ``hook`` is where outputs are really sent,
    whatever https URL a call named."""

    def __init__(self, key: str, boot: float = 0.2) -> None:
        self._key = key
        self._boot = boot
        self.hook = ""
        self.status = "ACTIVE"
        self.settings: dict[str, Any] = {"min_replica": 0, "max_replica": 1}
        self.running = 0
        self.usage: dict[str, Any] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.submitted: list[dict[str, Any]] = []
        self._ids = (f"req{number}" for number in itertools.count(1))
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._booting: asyncio.Task[None] | None = None

    def app(self) -> Starlette:
        inference = [
            Route(place + path, view, methods=["POST"])
            for place in PLACES
            for path, view in (
                ("/predict", self.predict),
                ("/async_predict", self.async_predict),
                ("/wake", self.wake),
            )
        ]
        return Starlette(
            routes=[
                *inference,
                Route("/async_request/{id}", self.about, methods=["GET", "DELETE"]),
                Route("/v1/models/m1/deployments/{id}", self.deployment),
                Route("/v1/models/m1/environments/{id}", self.environment),
                Route("/v1/models/m1/deployments", self.deployments),
                Route("/v1/billing/usage_summary", self.billed),
                Route(
                    "/v1/models/m1/deployments/{id}/autoscaling_settings",
                    self.autoscale,
                    methods=["PATCH"],
                ),
            ]
        )

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Api-Key {self._key}":
            return JSONResponse({"error": "please check the API key you provided"}, 403)
        if request.path_params.get("place") == "nowhere":
            return JSONResponse({"error": "no such deployment"}, 404)
        return None

    # --- sync ------------------------------------------------------------------------------

    async def predict(self, request: Request) -> Response:
        refusal = self._refusal(request)
        asked = await request.json()
        if refusal is not None:
            return refusal
        await self._woken()
        self.running += 1
        try:
            while asked.get("slow") and not await request.is_disconnected():
                await asyncio.sleep(0.02)
        finally:
            self.running -= 1
        if "status" in asked:
            return JSONResponse({"error": "as you asked"}, asked["status"])
        if "model" in asked and asked.get("stream"):
            return StreamingResponse(_completion(), media_type="text/event-stream")
        if "words" in asked:
            return StreamingResponse(_words(asked), media_type="text/plain")
        if "model" in asked:
            return JSONResponse({"choices": [{"text": ""}], "usage": {"prompt_tokens": 3}})
        return JSONResponse({"echo": asked.get("echo")})

    async def _woken(self) -> None:
        """The platform holds a call while a replica wakes."""
        if self.status == "SCALED_TO_ZERO":
            self.status = "WAKING_UP"
            self._booting = asyncio.ensure_future(self._boot_one())
        if self._booting is not None:
            await asyncio.wait([self._booting])

    async def _boot_one(self) -> None:
        await asyncio.sleep(self._boot)
        self.status = "ACTIVE"

    async def wake(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is None and self.status == "SCALED_TO_ZERO":
            self.status = "WAKING_UP"
            self._booting = asyncio.ensure_future(self._boot_one())
        return refusal or JSONResponse({}, 202)

    # --- asynchronous ----------------------------------------------------------------------

    async def async_predict(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        data = await request.body()
        if len(data) > 256 * 1024:
            return JSONResponse({"error": "payload too large"}, 413)
        asked = await request.json()
        self.submitted.append(asked)
        name = next(self._ids)
        known = {"request_id": name, "status": "QUEUED", "webhook_status": None}
        self.requests[name] = known
        self._tasks[name] = asyncio.ensure_future(self._run(known, asked["model_input"]))
        return JSONResponse({"request_id": name}, 201)

    async def _run(self, known: dict[str, Any], asked: dict[str, Any]) -> None:
        await asyncio.sleep(asked.get("queue", 0.05))
        known["status"] = "IN_PROGRESS"
        self.running += 1
        try:
            await asyncio.sleep(asked.get("sleep", 0.05))
        finally:
            self.running -= 1
        if "fail" in asked:
            known |= {"status": "FAILED", "errors": [{"message": asked["fail"]}]}
            return
        async with httpx.AsyncClient(trust_env=False) as client:
            told = {"request_id": known["request_id"], "data": {"echo": asked.get("echo")}}
            try:
                took = (await client.post(self.hook, json=told)).is_success
            except httpx.TransportError:
                took = False
        known["webhook_status"] = "SUCCEEDED" if took else "FAILED"
        known["status"] = "SUCCEEDED" if took else "WEBHOOK_FAILED"

    async def about(self, request: Request) -> Response:
        refusal = self._refusal(request)
        known = self.requests.get(request.path_params["id"])
        if refusal is not None:
            return refusal
        if known is None:
            return JSONResponse({"error": "no such request"}, 404)
        if request.method == "GET":
            return JSONResponse(known)
        queued = known["status"] == "QUEUED"
        if queued:
            self._tasks[known["request_id"]].cancel()
            known["status"] = "CANCELED"
        return JSONResponse({"request_id": known["request_id"], "canceled": queued, "message": ""})

    # --- management ------------------------------------------------------------------------

    def _shown(self) -> dict[str, Any]:
        replicas = int(self.status == "ACTIVE")
        return {
            "id": "d1",
            "status": self.status,
            "active_replica_count": replicas,
            "autoscaling_settings": self.settings,
        }

    async def deployment(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse(self._shown())

    async def environment(self, request: Request) -> Response:
        shown = {"name": request.path_params["id"], "current_deployment": self._shown()}
        return self._refusal(request) or JSONResponse(shown)

    async def deployments(self, request: Request) -> Response:
        listed = {"deployments": [{"id": "d1", "name": "one"}, {"id": "d2", "name": "two"}]}
        return self._refusal(request) or JSONResponse(listed)

    async def billed(self, request: Request) -> Response:
        """31 days at most, as the platform tells."""
        start, end = (request.query_params[name] for name in ("start_date", "end_date"))
        asked = datetime.fromisoformat(end) - datetime.fromisoformat(start)
        if asked > timedelta(days=31):
            return JSONResponse({"error": "the range exceeds 31 days"}, 400)
        return self._refusal(request) or JSONResponse(self.usage)

    async def autoscale(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is None:
            self.settings |= await request.json()
        return refusal or JSONResponse({"status": "ACCEPTED", "message": ""})


async def _words(asked: dict[str, Any]) -> AsyncIterator[bytes]:
    for word in asked["words"]:
        yield word.encode()
        await asyncio.sleep(0.02)
    if asked.get("cut"):
        raise ConnectionResetError


async def _completion() -> AsyncIterator[bytes]:
    yield b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    yield b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    yield b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
    yield b"data: [DONE]\n\n"
