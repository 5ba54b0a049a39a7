"""The calls of an app's own server: one place for its workers, its status, its jobs and its
figures. Knows no HTTP beyond the body of a request."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.requests import Request

from local_runtime.app.model_sizes import model_in, unknown_model
from local_runtime.background import TaskSet
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.pending_call import Answer, PendingCall, Unanswered
from local_runtime.client.workers import KEEP_S, Workers
from local_runtime.clock import Clock
from local_runtime.http.content_codings import (
    BadCoding,
    TooMuch,
    UnknownCoding,
    decode_body,
    named_codings,
)
from local_runtime.http.errors import Refusal
from local_runtime.json_bodies import NotJson, decoded
from local_runtime.protocol.events import Done, Ping, Run
from local_runtime.protocol.wire import ENVELOPE, FrameTooLarge
from local_runtime.server.background_jobs import JobRegistry
from local_runtime.server.metrics import AppMetrics
from local_runtime.server.refusals import loading, refusal_of
from local_runtime.status import Status
from local_runtime.webhooks import Webhooks

CODING = "content-encoding"
WARMUP_S = 600.0
"""The longest that one warm-up call may take."""


class AppDispatcher:
    """The calls of an app's own server: one place for its workers, its status and its jobs."""

    def __init__(self, workers: Workers, clock: Clock, *, max_message: int) -> None:
        self.workers = workers
        self.jobs = JobRegistry()
        self.metrics = AppMetrics(workers, lambda: len(self._status.running))
        self._clock = clock
        self.max_body = max_message - ENVELOPE
        self._status = Status()
        self._webhooks = Webhooks()
        self._watchers = TaskSet()

    def keep_until(self) -> float:
        """Until when a worker may report on a call that nobody waits for."""
        return self._clock.monotonic() + KEEP_S

    def changed(self) -> None:
        """The workers have other slots."""
        slots, now = self.workers.slots, self._clock.monotonic()
        if slots and not self._status.slots:
            self._status = self._status.update("ready", now, slots=slots)
        self._status = msgspec.structs.replace(self._status, slots=slots)

    def status(self) -> dict[str, Any]:
        """Potassium's four figures; times in whole milliseconds."""
        status, now = self._status, self._clock.monotonic()
        return {
            "gpu_available": status.gpu_available,
            "sequence_number": status.sequence_number,
            "idle_time": int(status.idle_time(now) * 1000),
            "inference_time": int(status.inference_time(now) * 1000),
        }

    @contextlib.contextmanager
    def counted(self, route: str, pending: PendingCall) -> Iterator[None]:
        """One served call, for the status and the metrics."""
        begun = self.begin()
        try:
            yield
        finally:
            self.end(route, pending, begun)

    def begin(self) -> float:
        """A call begins: its instant, to be given to ``end``."""
        begun = self._clock.monotonic()
        self._status = self._status.update("begun", begun)
        return begun

    def end(self, route: str, pending: PendingCall, begun: float) -> None:
        """A call has ended, answered or not."""
        self._status = self._status.update("ended", self._clock.monotonic(), at=begun)
        if pending.answer is not None:
            self.metrics.count(route, pending.answer)

    async def wait_ready(self, seconds: float) -> dict[str, float] | None:
        """Waits for a worker, at most so long. What was waited for, stage by stage, behind how
        long it was (``cold``); None when there was nothing to wait for, or it was in vain."""
        begun = self._clock.monotonic()
        if not seconds or not await self.workers.wait_ready(begun + seconds):
            return None
        return {"cold": self._clock.monotonic() - begun, **self.workers.start_stages}

    # --- calls ---------------------------------------------------------------------------------

    def worker_for(self, route: str) -> WorkerConnection:
        """The worker with the most room. Raises Refusal while there is none, and for a route
        that the app does not have."""
        worker = self.workers.least_loaded()
        if worker is None:
            raise loading(self.workers.retry_after())
        if route not in worker.facts.routes:
            raise Refusal(404, "unsupported", f"the app has no handler for {route}")
        return worker

    async def writable_worker_for(self, route: str) -> WorkerConnection:
        """A worker that reads what it is sent. Raises Refusal."""
        worker = self.worker_for(route)
        if worker.socket.congested:
            await worker.socket.drained()
            worker = self.worker_for(route)
        return worker

    def send(self, worker: WorkerConnection, run: Run) -> PendingCall:
        """Hands a call to a worker. Raises Refusal."""
        try:
            return worker.ask(run, math.inf)
        except FrameTooLarge:
            raise self.too_large() from None

    def too_large(self) -> Refusal:
        """What a caller is answered whose request has more than ``max_body`` bytes."""
        text = f"the request is larger than the {self.max_body} bytes that this server takes"
        return Refusal(413, "too_large", text)

    async def body_of(self, request: Request) -> bytes:
        """The whole body, of bounded size, without its content codings. Raises Refusal."""
        codings = _codings(request)
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.max_body:
            raise self.too_large()
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.max_body:
                raise self.too_large()
            parts.append(part)
        body = b"".join(parts)
        return await self._decoded(body, codings) if codings else body

    async def _decoded(self, body: bytes, codings: tuple[bytes, ...]) -> bytes:
        try:
            return await decode_body(body, codings, self.max_body)
        except TooMuch:
            raise self.too_large() from None
        except BadCoding as error:
            text = f"the request is not what its Content-Encoding says: {error}"
            raise Refusal(400, "invalid", text) from None

    # --- background calls ----------------------------------------------------------------------

    def take_job(self, worker: WorkerConnection, run: Run) -> None:
        """Begins a background call, unless it is known, and keeps its result for a while.
        Raises Refusal."""
        if run.request in self.jobs:
            return
        body = check_json(run.body)
        if run.route in worker.facts.models:
            check_model(body, run.route, worker.facts.models[run.route])
        pending = self.send(worker, run)
        self.jobs.add(run.request, pending)
        self._watchers.start(self._watch_job(run, pending))

    async def _watch_job(self, run: Run, pending: PendingCall) -> None:
        with self.counted(run.route, pending):
            while pending.answer is None:
                await pending.wait()
            self.jobs.finish(run.request)
        answer = pending.answer
        if isinstance(answer, Unanswered) and answer.kind == "died":
            # The worker tells the webhook of every other end.
            self._webhooks.answer(run)(Done(0, False, kind="failed", message=answer.message))

    async def aclose(self) -> None:
        """Forgets the background calls."""
        await self._watchers.aclose()

    # --- warm-up -------------------------------------------------------------------------------

    async def warm_up(self) -> None:
        """Runs the sample of every handler, in every worker. Raises Refusal for the first that
        fails."""
        ready = self.workers.connections
        if not ready:
            raise loading(self.workers.retry_after())
        results = await asyncio.gather(
            *(self._warm(worker) for worker in ready), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _warm(self, worker: WorkerConnection) -> None:
        for route in sorted(worker.facts.routes):
            pending = worker.ask(Ping(0, route), self._clock.monotonic() + WARMUP_S)
            try:
                while pending.answer is None:
                    await pending.wait()
            finally:
                pending.leave(self.keep_until())
            answer = pending.answer
            if not succeeded(answer):
                raise refusal_of(answer)


def succeeded(answer: Answer | None) -> bool:
    """The worker said that it went well."""
    return isinstance(answer, Done) and answer.ok


def check_json(body: bytes) -> Any:
    """The value. Raises Refusal for what is not JSON: nobody waits to hear it from a background
    call."""
    try:
        return decoded(body)
    except NotJson as error:
        raise Refusal(400, "invalid", str(error)) from None


def check_model(body: Any, route: str, models: tuple[str, ...]) -> None:
    """Raises Refusal where ``body`` names none of ``models``; the only one goes unnamed."""
    name = model_in(body)
    if len(models) != 1 and name not in models:
        raise Refusal(404, "unsupported", unknown_model(route, name))


def _codings(request: Request) -> tuple[bytes, ...]:
    try:
        return named_codings(", ".join(request.headers.getlist(CODING)).encode("latin-1"))
    except UnknownCoding as unknown:
        text = f"a request in the content encoding {str(unknown)[:40]!r} is not read here"
        headers = {"Accept-Encoding": "gzip, deflate"}
        raise Refusal(415, "unsupported_content_encoding", text, headers=headers) from None
