"""Replicate's cloud as its documents describe it, small: a Starlette app that does what a
prediction's input says. ``test_client.py`` drives it with Replicate's own client.

Source: https://replicate.com/docs/reference/http
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

FINAL = ("succeeded", "failed", "canceled", "aborted")


class Run:
    """One prediction and what executes it."""

    def __init__(self, id: str, base: str, model: str, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.words: list[str] = []
        self.stirred = asyncio.Event()
        self.shown: dict[str, Any] = {
            "id": id,
            "model": model,
            "version": "hidden",
            "status": "starting",
            "input": asked,
            "output": None,
            "error": None,
            "logs": "",
            "created_at": _now(),
            "urls": {
                "get": f"{base}/v1/predictions/{id}",
                "cancel": f"{base}/v1/predictions/{id}/cancel",
                "stream": f"{base}/stream/{id}",
            },
        }
        self.task = asyncio.create_task(self._execute())

    @property
    def status(self) -> str:
        return str(self.shown["status"])

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    def end(self, status: str, **more: Any) -> None:
        started = datetime.fromisoformat(self.shown["started_at"])
        seconds = (datetime.now(UTC) - started).total_seconds()
        self.shown.update(
            more, status=status, completed_at=_now(), metrics={"predict_time": seconds}
        )
        self.stirred.set()

    async def _execute(self) -> None:
        self.shown.update(status="processing", started_at=_now())
        try:
            await asyncio.sleep(float(self.asked.get("sleep", 0)))
            for word in self.asked.get("words", []):
                self.words.append(word)
                self.stirred.set()
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.end("canceled")
            raise
        if self.asked.get("fail"):
            self.end("failed", error=str(self.asked["fail"]))
        else:
            self.end("succeeded", output=self._output())

    def _output(self) -> Any:
        if "model" in self.asked:
            return {
                "choices": [{"text": ""}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2},
            }
        return self.words or {"echo": self.asked.get("echo")}


class Cloud:
    def __init__(self, key: str, idle: float = 30.0) -> None:
        self._key = key
        self._idle = idle
        self._ids = itertools.count(1)
        self.runs: dict[str, Run] = {}
        self.min_instances = 0

    @property
    def running(self) -> int:
        return sum(run.status not in FINAL for run in self.runs.values())

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/predictions", self.create, methods=["POST"]),
                Route("/v1/{kind}/{owner}/{name}/predictions", self.create, methods=["POST"]),
                Route("/v1/predictions/{id}", self.get),
                Route("/v1/predictions/{id}/cancel", self.cancel, methods=["POST"]),
                Route("/v1/deployments/{owner}/{name}", self.deployment, methods=["GET", "PATCH"]),
                Route("/stream/{id}", self.stream),
            ],
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        for run in self.runs.values():
            await run.stop()

    async def create(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        asked = (await request.json())["input"]
        if asked.get("echo") == 7:
            detail = "- input.echo: Invalid type. Expected: string, given: integer\n"
            return _problem(422, detail, title="Input validation failed")
        run = Run(f"p{next(self._ids)}", str(request.base_url).rstrip("/"), "o/n", asked)
        self.runs[run.shown["id"]] = run
        asyncio.get_running_loop().call_later(
            _seconds(request, "cancel-after", 3600), run.task.cancel
        )
        held = _seconds(request, "prefer", 0.0)
        if held:
            await asyncio.wait([run.task], timeout=held)
        return JSONResponse(run.shown, 201)

    async def get(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse(self._run(request).shown)

    async def cancel(self, request: Request) -> Response:
        await self._run(request).stop()
        return JSONResponse(self._run(request).shown)

    async def deployment(self, request: Request) -> Response:
        if request.method == "PATCH":
            self.min_instances = (await request.json())["min_instances"]
        kept = {"hardware": "gpu-t4", "min_instances": self.min_instances, "max_instances": 3}
        release = {
            "model": "o/n",
            "version": "v1",
            "number": 1,
            "created_at": _now(),
            "created_by": {"type": "organization", "username": "o", "name": "O"},
            "configuration": kept,
        }
        return JSONResponse({"owner": "o", "name": "n", "current_release": release})

    async def stream(self, request: Request) -> Response:
        last = request.headers.get("last-event-id")
        start = 0 if last is None else int(last.partition(":")[2]) + 1
        events = self._events(self._run(request), start)
        return self._refusal(request) or StreamingResponse(events, media_type="text/event-stream")

    async def _events(self, run: Run, at: int) -> AsyncIterator[str]:
        while True:
            while at < len(run.words):
                lines = "".join(f"data: {line}\n" for line in run.words[at].split("\n"))
                yield f"event: output\nid: 1:{at}\n{lines}\n"
                at += 1
            if run.status in FINAL:
                break
            run.stirred.clear()
            try:
                async with asyncio.timeout(self._idle):
                    await run.stirred.wait()
            except TimeoutError:
                yield ":408: 408 Request Timeout\n\n"
                return
        if run.status == "failed":
            yield f"event: error\ndata: {json.dumps({'detail': run.shown['error']})}\n\n"
        reason = {"failed": "error", "canceled": "canceled"}.get(run.status)
        yield f"event: done\ndata: {json.dumps({'reason': reason} if reason else {})}\n\n"

    def _run(self, request: Request) -> Run:
        return self.runs[request.path_params["id"]]

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {self._key}":
            return _problem(401, "You did not pass a valid authentication token", "Unauthenticated")
        if request.path_params.get("name") == "nowhere":
            return _problem(404, "The requested resource could not be found.")
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _seconds(request: Request, header: str, default: float) -> float:
    """Of ``wait=5``, ``wait`` and ``60s``."""
    value = request.headers.get(header)
    if value is None:
        return default
    return float(value.removeprefix("wait").removeprefix("=").removesuffix("s") or 60)


def _problem(status: int, detail: str, title: str = "Not found") -> Response:
    return JSONResponse({"title": title, "detail": detail, "status": status}, status)
