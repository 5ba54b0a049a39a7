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
from adapters.http.api import Api
from adapters.http.openai_calls import OpenAICalls
from adapters.http.response import Response
from adapters.routes import OPENAI_ROUTES
from adapters.runpod.settings import BALANCER_HOLD, RunPodSettings
from adapters.shapes.error_words import message_of
from adapters.types import Call, Reply, Task, Usage

BALANCER_LIMIT = 30_000_000
"""Bytes of a body that a load-balancing endpoint takes, and gives."""
_WORKER = b"x-runpod-worker-id"
_NO_WORKER = re.compile(r"no (available )?workers?\b", re.I)
_BEFORE_ANY_WORKER = (502, 503)
_POLL_EVERY_S = 1.0


class DirectCalls(Api):
    """The calls of an endpoint whose workers are reached by their own routes."""

    def __init__(self, settings: RunPodSettings, clock: Clock) -> None:
        balanced = settings.mode == "load_balancer"
        super().__init__(
            settings.balancer if balanced else settings.endpoint_url + "/openai",
            clock,
            settings,
            headers=settings.auth,
            secrets=settings.secrets,
        )
        self._balanced = balanced
        self._ping_path = settings.ping_path
        limit = min(settings.timeout, BALANCER_HOLD) if balanced else settings.timeout
        limited = msgspec.structs.replace(settings, timeout=limit)
        self._calls = OpenAICalls(self, limited, worker=_WORKER)
        infer = settings.infer_path if balanced else None
        own: dict[Task, str] = {} if infer is None else {"infer": infer}
        self._heads = self.heads({**OPENAI_ROUTES, **own})

    @property
    def tasks(self) -> frozenset[Task]:
        """Of the calls that have a route."""
        return frozenset(self._heads)

    async def invoke(self, call: Call) -> Reply:
        """Runs a call. Raises BackendError."""
        return await self._calls.ask(call, self._heads.get(call.task))

    async def ping(self, deadline: float) -> Usage:
        """Asks for the health path until a worker is ready; a request wakes one. What the
        platform calls a cold start is the time from the first 204 to the first 200. Raises
        TIMEOUT at ``deadline``, an instant of the monotonic clock."""
        head = self.head("GET", self._ping_path)
        started = self.clock.monotonic()
        while True:
            response = await self.client.request(head, deadline=deadline)
            waited = self.clock.monotonic() - started
            if response.status == 200:
                return Usage(cold_s=waited, exec_s=0.0, worker=response.header(_WORKER))
            if response.status != 204:
                raise self.refusal(response)
            await self.clock.sleep(min(_POLL_EVERY_S, max(0.0, deadline - started - waited)))
            if self.clock.monotonic() >= deadline:
                raise BackendError(FailureClass.TIMEOUT, "No worker was ready in time.")

    def refusal(self, response: Response) -> BackendError:
        """Behind a load balancer, what no worker has answered was not run."""
        error = super().refusal(response)
        if not self._balanced or response.header(_WORKER) is not None:
            return error
        if _NO_WORKER.search(message_of(response.body)):
            return error.reclassed(FailureClass.OVERLOADED)
        if response.status in _BEFORE_ANY_WORKER:
            return error.reclassed(FailureClass.UNREACHABLE)
        return error
