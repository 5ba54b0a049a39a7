"""A scripted RunPod platform, and an adapter in front of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from adapters.runpod.backend import RunPod
from adapters.runpod.settings import RunPodSettings
from adapters.settings import Secret
from adapters.types import Call, Task
from gateway.clock import FakeClock
from tests.adapters.servers import Scripted, answer
from tests.adapters.servers import scripted as script_of

KEY = "rp-secret-4711"


def a_call(
    body: bytes = b'{"x":1}', *, stream: bool = False, task: Task = "infer", deadline: float = 1e9
) -> Call:
    return Call(id="c1", model="m", task=task, body=body, stream=stream, deadline=deadline)


def job(status: str = "COMPLETED", http: int = 200, **fields: Any) -> bytes:
    return answer({"id": "j1", "status": status, **fields}, http)


def polled(status: str, *outputs: Any) -> bytes:
    """An answer of ``/stream``."""
    return answer({"status": status, "stream": [{"output": output} for output in outputs]})


DONE: dict[str, Any] = {"output": {"y": 2}, "delayTime": 100, "executionTime": 50, "workerId": "w1"}


@contextlib.asynccontextmanager
async def platform(
    clock: FakeClock, *answers: bytes, **settings: Any
) -> AsyncIterator[tuple[RunPod, Scripted]]:
    """An adapter, started, in front of a scripted platform."""
    async with script_of(*answers) as (script, url):
        backend = RunPod("rp", settings_for(url, **settings), clock)
        await backend.start()
        try:
            yield backend, script
        finally:
            await backend.aclose()


@contextlib.asynccontextmanager
async def balanced(
    clock: FakeClock, *answers: bytes, **settings: Any
) -> AsyncIterator[tuple[RunPod, Scripted]]:
    """The same for an endpoint behind a load balancer."""
    async with script_of(*answers) as (script, url):
        given = settings_for(url, mode="load_balancer", balancer_url=url, **settings)
        backend = RunPod("rp", given, clock)
        await backend.start()
        try:
            yield backend, script
        finally:
            await backend.aclose()


def settings_for(url: str, **settings: Any) -> RunPodSettings:
    given = {"endpoint": "ep", "api_key": Secret(KEY), "base_url": url + "/v2", **settings}
    given.setdefault("management_url", url + "/v2")
    return RunPodSettings(**given)
