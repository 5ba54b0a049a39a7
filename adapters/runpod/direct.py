"""Calls to a RunPod worker's own HTTP routes: behind a load balancer, or vLLM's OpenAI route.

Nothing is a job here: no id to poll, to cancel or to find again, so a lost answer is AMBIGUOUS
and closing the connection is all that a cancel can do. A load-balancing endpoint has no queue;
it lets a request wait up to two minutes for a worker and ends it after five and a half.

Assumed, for nothing here was run against the live platform: an answer without
``X-Runpod-Worker-Id`` was given by the platform before any worker was reached, so that a 502 or 503
in it may be asked of another backend; a refusal for want of workers says "no worker".

Source: https://docs.runpod.io/serverless/load-balancing/overview, as of 2026-07.
"""

from __future__ import annotations

import re

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.client import Origin, client_of, render_head
from adapters.http.connection import Response
from adapters.http.failures import message_of, refused
from adapters.http.openai_calls import OpenAICalls
from adapters.runpod.settings import BALANCER_HOLD, RunPodSettings
from adapters.types import OPENAI_ROUTES, Call, Reply, Task, Usage

BALANCER_LIMIT = 30_000_000
"""Bytes of a body that a load-balancing endpoint takes, and gives."""
_WORKER = b"x-runpod-worker-id"
_NO_WORKER = re.compile(r"no (available )?workers?\b", re.I)
_BEFORE_ANY_WORKER = (502, 503)
_POLL_EVERY = 1.0


class DirectCalls:
    def __init__(self, settings: RunPodSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        balanced = settings.mode == "load_balancer"
        self._origin = Origin(settings.balancer if balanced else settings.base_url)
        self._client = client_of(self._origin, clock, settings)
        limit = min(settings.timeout, BALANCER_HOLD) if balanced else settings.timeout
        self._calls = OpenAICalls(
            self._client,
            clock,
            msgspec.structs.replace(settings, timeout=limit),
            secrets=settings.secrets,
            refuse=self._refused,
            worker=_WORKER,
        )
        self._heads = self._routes(balanced=balanced)

    def __repr__(self) -> str:
        return repr(self._client)

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset(self._heads)

    def start(self) -> None:
        self._client.start()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def invoke(self, call: Call) -> Reply:
        return await self._calls.ask(call, self._heads.get(call.task))

    async def ping(self, deadline: float) -> Usage:
        """Asks for the health path until a worker is ready; a request wakes one. What the
        platform calls a cold start is the time from the first 204 to the first 200."""
        head = render_head("GET", self._origin, self._settings.ping_path, self._settings.auth)
        started = self._clock.monotonic()
        while True:
            response = await self._client.request(head, deadline=deadline)
            waited = self._clock.monotonic() - started
            if response.status == 200:
                return Usage(cold_s=waited, exec_s=0.0, worker=_worker_of(response))
            if response.status != 204:
                raise await self._refused(response)
            await self._clock.sleep(min(_POLL_EVERY, max(0.0, deadline - started - waited)))
            if self._clock.monotonic() >= deadline:
                raise BackendError(FailureClass.TIMEOUT, "No worker was ready in time.")

    # --- inside ----------------------------------------------------------------------------

    def _routes(self, *, balanced: bool) -> dict[Task, bytes]:
        settings = self._settings
        prefix = "" if balanced else f"/{settings.endpoint}/openai"
        paths: dict[Task, str] = {task: prefix + path for task, path in OPENAI_ROUTES.items()}
        if balanced and settings.infer_path is not None:
            paths["infer"] = settings.infer_path
        return {
            task: render_head("POST", self._origin, path, settings.auth)
            for task, path in paths.items()
        }

    async def _refused(self, response: Response) -> BackendError:
        error = refused(response, now=self._clock.time(), secrets=self._settings.secrets)
        said = message_of(response.body)
        if _worker_of(response) is None and self._settings.mode == "load_balancer":
            if _NO_WORKER.search(said):
                return _replaced(error, FailureClass.OVERLOADED)
            if response.status in _BEFORE_ANY_WORKER:
                return _replaced(error, FailureClass.UNREACHABLE)
        return error


def _worker_of(response: Response) -> str | None:
    return response.header(_WORKER)


def _replaced(error: BackendError, failure: FailureClass) -> BackendError:
    return BackendError(failure, error.message, retry_after=error.retry_after, detail=error.detail)
