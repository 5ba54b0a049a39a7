"""The HTTP surface: RunPod's job plane for callers, its job channel for workers.

Paths and shapes: https://docs.runpod.io/serverless/endpoints/operation-reference for callers;
the worker's side is what the SDK (runpod 1.12) asks for, and it sends its key bare.
"""

from __future__ import annotations

import contextlib
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.overflow.jobs import NOTHING, Job, JobPolicy, QueueFull, State
from examples.overflow.management import ManagementRoutes
from examples.overflow.platform import Platform
from examples.overflow.replies import Endpoint, json_response, keyed, problem

RUN_LIMIT = 10_000_000
RUNSYNC_LIMIT = 20_000_000
DEFAULT_WAIT_MS = 90_000
TAKE_POLL = 30.0
"""Seconds that a worker's request for a job, or for a stop, is held."""
_MAX_BATCH = 64


class Submission(msgspec.Struct, frozen=True):
    input: dict[str, msgspec.Raw]
    policy: JobPolicy = JobPolicy()


class Outcome(msgspec.Struct, frozen=True):
    """What a worker posts: a chunk, progress, or its last word."""

    output: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING
    status: str | None = None


def describe(job: Job) -> dict[str, Any]:
    """A job as ``/status`` shows it."""
    shown: dict[str, Any] = {"id": job.id, "status": job.state.value}
    if job.taken is not None:
        shown["delayTime"] = round((job.taken - job.submitted) * 1000)
        shown["workerId"] = job.worker
        if job.ended is not None:
            shown["executionTime"] = round((job.ended - job.taken) * 1000)
    if job.output:
        shown["output"] = job.output
    if job.error:
        shown["error"] = job.error
    return shown


class CallerRoutes:
    """``/v2/{endpoint}/...``"""

    def __init__(self, platform: Platform, api_key: str) -> None:
        self._platform = platform
        self._queue = platform.queue
        self._key = api_key

    def routes(self) -> list[Route]:
        base = "/v2/{endpoint}"
        return [
            self._route(base + "/run", self.run, "POST"),
            self._route(base + "/runsync", self.runsync, "POST"),
            self._route(base + "/status/{job}", self.status, "GET", "POST"),
            self._route(base + "/stream/{job}", self.stream, "GET", "POST"),
            self._route(base + "/cancel/{job}", self.cancel, "POST"),
            self._route(base + "/retry/{job}", self.retry, "POST"),
            self._route(base + "/purge-queue", self.purge, "POST"),
            self._route(base + "/health", self.health, "GET"),
        ]

    def _route(self, path: str, endpoint: Endpoint, *methods: str) -> Route:
        return keyed(path, endpoint, *methods, key=self._key, name=self._platform.endpoint)

    async def run(self, request: Request) -> Response:
        job = await self._submit(request, RUN_LIMIT, sync=False)
        if isinstance(job, Response):
            return job
        return json_response({"id": job.id, "status": job.state.value})

    async def runsync(self, request: Request) -> Response:
        job = await self._submit(request, RUNSYNC_LIMIT, sync=True)
        if isinstance(job, Response):
            return job
        wait_ms = request.query_params.get("wait", str(DEFAULT_WAIT_MS))
        if not wait_ms.isdecimal() or not 1000 <= int(wait_ms) <= 300_000:
            return problem(400, "wait is 1000 to 300000 milliseconds")
        until = time.monotonic() + int(wait_ms) / 1000
        while not job.final and await self._platform.wait(until):
            pass
        return json_response(describe(job))

    async def status(self, request: Request) -> Response:
        job = self._job(request)
        return problem(404, "job not found") if job is None else json_response(describe(job))

    async def stream(self, request: Request) -> Response:
        """What is new, at once or as soon as there is any within a second."""
        job = self._job(request)
        if job is None:
            return problem(404, "job not found")
        until = time.monotonic() + 1.0
        while not job.parts and not job.final and await self._platform.wait(until):
            pass
        parts = [{"output": part} for part in self._queue.drain(job)]
        return json_response({"status": job.state.value, "stream": parts})

    async def cancel(self, request: Request) -> Response:
        job = self._job(request)
        if job is None:
            return problem(404, "job not found")
        self._queue.cancel(job, time.monotonic())
        self._platform.notify()
        return json_response({"id": job.id, "status": job.state.value})

    async def retry(self, request: Request) -> Response:
        job = self._job(request)
        if job is None:
            return problem(404, "job not found")
        if not self._queue.retry(job, time.monotonic()):
            return problem(400, "only a FAILED or TIMED_OUT job can be retried")
        self._wake()
        return json_response({"id": job.id, "status": job.state.value})

    async def purge(self, _: Request) -> Response:
        removed = self._queue.purge(time.monotonic())
        self._platform.notify()
        return json_response({"removed": removed, "status": "completed"})

    async def health(self, _: Request) -> Response:
        totals = self._queue.totals
        jobs = {
            "completed": totals[State.COMPLETED],
            "failed": totals[State.FAILED] + totals[State.TIMED_OUT],
            "inProgress": self._queue.running,
            "inQueue": self._queue.waiting,
            "retried": totals["retried"],
        }
        return json_response({"jobs": jobs, "workers": self._platform.counts()})

    def _job(self, request: Request) -> Job | None:
        return self._queue.get(request.path_params["job"])

    async def _submit(self, request: Request, limit: int, *, sync: bool) -> Job | Response:
        body = await request.body()
        if len(body) > limit:
            return problem(413, f"the body is larger than {limit} bytes")
        try:
            asked = msgspec.json.decode(body, type=Submission)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return problem(400, f"bad request: {error}")
        job_input = msgspec.Raw(msgspec.json.encode(asked.input))
        try:
            job = self._queue.submit(job_input, asked.policy, sync=sync, now=time.monotonic())
        except QueueFull:
            return JSONResponse({"error": "the queue is full"}, 429, {"Retry-After": "1"})
        self._wake()
        return job

    def _wake(self) -> None:
        self._platform.notify()
        self._platform.scale_now()


class WorkerRoutes:
    """What RunPod's worker asks for and posts."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._queue = platform.queue

    def routes(self) -> list[Route]:
        worker = "/{endpoint}/{worker}"
        return [
            self._route("/job-take" + worker, self.take_one, "GET"),
            self._route("/job-take-batch" + worker, self.take_many, "GET"),
            self._route("/job-stop" + worker, self.stops, "GET"),
            self._route("/job-stream" + worker + "/{job}", self.chunk, "POST"),
            self._route("/job-done" + worker + "/{job}", self.done, "POST"),
            self._route("/ping" + worker, self.ping, "GET"),
        ]

    def _route(self, path: str, endpoint: Endpoint, method: str) -> Route:
        async def guarded(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), self._platform.worker_key.encode()):
                return problem(401, "unauthorized")
            return await endpoint(request)

        return Route(path, guarded, methods=[method])

    async def take_one(self, request: Request) -> Response:
        jobs = await self._take(request, 1)
        return json_response(jobs[0]) if jobs else Response(status_code=204)

    async def take_many(self, request: Request) -> Response:
        asked = request.query_params.get("batch_size", "1")
        jobs = await self._take(request, min(int(asked), _MAX_BATCH))
        return json_response(jobs) if jobs else Response(status_code=204)

    async def _take(self, request: Request, most: int) -> list[dict[str, Any]]:
        worker = self._platform.workers.get(request.path_params["worker"])
        if worker is None:
            return []
        worker.seen(time.monotonic())
        until = time.monotonic() + TAKE_POLL
        while not worker.leaving and not await request.is_disconnected():
            jobs = self._queue.take(worker.id, most=most, now=time.monotonic())
            if jobs:
                return [{"id": job.id, "input": job.input} for job in jobs]
            if not await self._platform.wait(until):
                break
        return []

    async def stops(self, request: Request) -> Response:
        worker_id = request.path_params["worker"]
        until = time.monotonic() + TAKE_POLL
        while not await request.is_disconnected():
            if stopped := self._queue.stops_for(worker_id):
                return json_response({"jobsToStop": stopped})
            if not await self._platform.wait(until):
                break
        return Response(status_code=204)

    async def chunk(self, request: Request) -> Response:
        job, posted = await self._posted(request)
        if job is not None and posted.output:
            self._queue.put_out(job, request.path_params["worker"], posted.output)
            self._platform.notify()
        return json_response({})

    async def done(self, request: Request) -> Response:
        job, posted = await self._posted(request)
        worker_id = request.path_params["worker"]
        if job is None:
            return json_response({})
        if posted.status == State.IN_PROGRESS:
            self._queue.progress(job, worker_id, posted.output)
        else:
            self._queue.finish(
                job, worker_id, output=posted.output, error=posted.error, now=time.monotonic()
            )
        self._platform.job_ended(worker_id)
        return json_response({})

    async def ping(self, _: Request) -> Response:
        return json_response({})

    async def _posted(self, request: Request) -> tuple[Job | None, Outcome]:
        job = self._queue.get(request.path_params["job"])
        return job, msgspec.json.decode(await request.body(), type=Outcome)


def make_app(platform: Platform, *, api_key: str, preload: bool) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        platform.start(preload=preload)
        try:
            yield
        finally:
            await platform.aclose()

    routes = [
        *ManagementRoutes(platform, api_key).routes(),
        *CallerRoutes(platform, api_key).routes(),
        *WorkerRoutes(platform).routes(),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
