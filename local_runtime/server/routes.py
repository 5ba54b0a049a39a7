"""One app over HTTP, with no gateway: its routes, and ``/_k/...`` for whoever runs it.

    POST /<route>            a handler; 202 {"job_id"} for a background one, and 200 {"started",
                             "job_id"} where the app is one for Potassium
    POST /_k/warmup          really runs the warm-up sample of every handler, in every worker
    GET  /_k/status          gpu_available, sequence_number, idle_time and inference_time in ms
    GET  /_k/jobs/{id}       a background call; POST /_k/jobs/{id}/cancel ends it
    GET  /healthz /readyz /metrics
    GET  /openapi.json /docs what the handlers take and give, and a page to try them

The paths below ``/_k`` and the status keys are Potassium's
(https://github.com/bananaml/potassium). The server knows no handler: calls go over the framed
socket to the workers, as a gateway's do.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from local_runtime.client.pending_call import PendingCall
from local_runtime.client.promises import promise_of
from local_runtime.http.errors import Refusal
from local_runtime.json_bodies import NotJson, decoded
from local_runtime.protocol.events import Done, Run
from local_runtime.server.dispatcher import CODING, AppDispatcher, succeeded
from local_runtime.server.documents import Documents
from local_runtime.server.refusals import refusal_of
from local_runtime.server.responses import Responder, cancelled_on_disconnect

ID_HEADERS = ("x-banana-request-id", "x-request-id")
DISPATCHER = "dispatcher"
"""Under which the server's connections find it in the state that the lifespan leaves them."""
_WAIT = re.compile(r"(?i)(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})")
LONGEST_WAIT_S = 600.0
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_NEW_IDS: list[str] = []
"""Drawn many at a time: to ask the system for each costs more than all else about an id."""
_DRAWN = 256


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class StreamPreference(msgspec.Struct):
    """What a body in OpenAI's shape says of its stream."""

    stream: bool | None = None
    stream_options: _StreamOptions | None = None


class HandlerRoutes:
    """Everything that is no page of the server's own: the handlers' routes."""

    def __init__(self, dispatcher: AppDispatcher) -> None:
        self._dispatcher = dispatcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        id = request_id([request.headers.get(name, "") for name in ID_HEADERS])
        responder = Responder(send, id_headers(id))
        try:
            await self._serve(request, id, responder)
        except Refusal as refusal:
            await responder.refuse(refusal)
        except ClientDisconnect:
            return

    async def _serve(self, request: Request, id: str, responder: Responder) -> None:
        dispatcher, route = self._dispatcher, request.url.path
        if not dispatcher.workers.slots:
            responder.waited = await dispatcher.wait_ready(patience_of(request.headers))
        background = route in dispatcher.worker_for(route).facts.background
        if request.method != "POST":
            text = f"{route} takes POST alone"
            raise Refusal(405, "method_not_allowed", text, headers={"Allow": "POST"})
        body = await dispatcher.body_of(request)
        preference = stream_preference(request.headers, route, body)
        headers = tuple(pair for pair in request.headers.items() if pair[0] != CODING)
        run = Run(0, route, body, id, bool(preference.stream) and not background, True, headers)
        worker = await dispatcher.writable_worker_for(route)
        if background:
            dispatcher.take_job(worker, run)
            await _accepted(request, id, responder, worker.facts.says_started)
            return
        pending = dispatcher.send(worker, run)
        with dispatcher.counted(route, pending):
            async with cancelled_on_disconnect(pending, request.receive, dispatcher.keep_until):
                await _answer(pending, responder, preference)


async def _answer(pending: PendingCall, responder: Responder, preference: StreamPreference) -> None:
    while pending.answer is None and not pending.outputs and pending.head is None:
        await pending.wait()
    answer = pending.answer
    if pending.head is not None:
        await responder.raw(pending)
    elif pending.outputs or (preference.stream and succeeded(answer)):
        options = preference.stream_options
        await responder.events(pending, with_usage=options is None or bool(options.include_usage))
    elif isinstance(answer, Done):
        await responder.done(answer)
    elif answer is not None:
        await responder.refuse(refusal_of(answer))


async def _accepted(request: Request, id: str, responder: Responder, says_started: bool) -> None:
    """202; of an app for Potassium, and for Banana's client, to which every other status is an
    error, 200."""
    started = says_started or "x-banana-api-key" in request.headers
    location = [("location", f"/_k/jobs/{id}")]
    await responder.whole(200 if started else 202, promise_of(id, started), location)


def stream_preference(headers: Mapping[str, str], route: str, body: bytes) -> StreamPreference:
    """Whether, and how, the caller wants a stream: by ``Accept``, or as OpenAI's bodies say. Below
    ``/v1/`` an item that holds usage alone goes out only to whoever asked for it."""
    preference = StreamPreference()
    if route.startswith("/v1/"):
        if b'"stream"' in body:
            with contextlib.suppress(NotJson):
                preference = decoded(body, StreamPreference)
        preference.stream_options = preference.stream_options or _StreamOptions()
    if "text/event-stream" in headers.get("accept", ""):
        preference.stream = True
    return preference


def patience_of(headers: Mapping[str, str]) -> float:
    """Seconds that the caller waits for a worker: ``Prefer: wait=30`` (RFC 7240, section 4.3)."""
    found = _WAIT.search(headers.get("prefer", ""))
    return min(LONGEST_WAIT_S, float(found[1])) if found else 0.0


def request_id(given: Iterable[str]) -> str:
    """The first of the caller's that can be passed on, else a new one."""
    for id in given:
        if _ID.match(id):
            return id
    if not _NEW_IDS:
        drawn = os.urandom(_DRAWN * 16).hex()
        _NEW_IDS.extend(drawn[start : start + 32] for start in range(0, len(drawn), 32))
    return _NEW_IDS.pop()


def id_headers(id: str) -> list[tuple[str, str]]:
    """The headers that give an answer its request's id."""
    return [(name, id) for name in ID_HEADERS]


# --- the server's own pages -----------------------------------------------------------------------


class ServerPages:
    """``/_k/...``, ``/healthz``, ``/readyz`` and ``/metrics``."""

    def __init__(self, dispatcher: AppDispatcher) -> None:
        self._dispatcher = dispatcher

    def routes(self) -> list[Route]:
        """The pages by their paths."""
        return [
            Route("/_k/warmup", self.warmup, methods=["POST"]),
            Route("/_k/status", self.status, methods=["GET"]),
            Route("/__status__", self.status, methods=["GET"]),
            Route("/_k/jobs/{id}", self.job, methods=["GET"]),
            Route("/_k/jobs/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/healthz", self.health, methods=["GET"]),
            Route("/readyz", self.ready, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    async def warmup(self, request: Request) -> Response:
        """Runs every handler's sample in every worker. Raises Refusal as ``warm_up`` does."""
        await self._dispatcher.warm_up()
        return _json({"warm": True})

    async def status(self, request: Request) -> Response:
        """Potassium's four figures."""
        return _json(self._dispatcher.status())

    async def job(self, request: Request) -> Response:
        """A background call and, once it has ended, its result. Raises Refusal where there is no
        such job."""
        found = self._dispatcher.jobs.read(request.path_params["id"])
        if found is None:
            raise Refusal(404, "not_found", "there is no such job, or it is forgotten")
        return _json(found)

    async def cancel(self, request: Request) -> Response:
        """Ends a background call. Raises Refusal where there is no such job."""
        self._dispatcher.jobs.cancel(request.path_params["id"], self._dispatcher.keep_until())
        return await self.job(request)

    async def health(self, request: Request) -> Response:
        """200 as long as the server runs."""
        return _json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """200 once a worker takes calls, else 503 with Retry-After."""
        workers = self._dispatcher.workers
        if workers.slots:
            return _json({"status": "ready", "workers": len(workers.connections)})
        body = {"status": "loading", "detail": workers.detail}
        return _json(body, 503, {"Retry-After": str(max(1, round(workers.retry_after())))})

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text format."""
        return Response(
            self._dispatcher.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, "application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return Response(error.body(), error.status, error.headers, "application/json")


async def _broken(request: Request, error: Exception) -> Response:
    """The log has the traceback."""
    return await _refused(request, Refusal(500, "internal", "the server has failed"))


def application(dispatcher: AppDispatcher, lifespan: Callable[[Starlette], Any]) -> Starlette:
    """The ASGI app over the workers of ``dispatcher``, which ``lifespan`` starts and ends."""
    return Starlette(
        routes=[
            *ServerPages(dispatcher).routes(),
            *Documents(dispatcher).routes(),
            Route("/{path:path}", HandlerRoutes(dispatcher)),
        ],
        exception_handlers={Refusal: _refused, Exception: _broken},
        lifespan=lifespan,
    )


def lifespan_of(
    dispatcher: AppDispatcher,
) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[dict[str, Any]]]:
    """The lifespan in which the workers run: the port answers while they load."""

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        dispatcher.workers.start()
        try:
            yield {DISPATCHER: dispatcher}
        finally:
            await dispatcher.aclose()
            await dispatcher.workers.aclose()

    return life
