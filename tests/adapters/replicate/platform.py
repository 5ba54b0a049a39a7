"""A scripted Replicate, and an adapter in front of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.errors import BackendError
from adapters.replicate.api import ReplicateSettings
from adapters.replicate.backend import Replicate
from adapters.settings import Secret
from adapters.types import Call, Task
from gateway.clock import FakeClock
from tests.adapters.servers import RawServer, Scripted, answer, drive

KEY = "r8-secret-4711"
DONE: dict[str, Any] = {
    "output": {"y": 2},
    "metrics": {"predict_time": 0.25},
    "created_at": "2026-11-22T12:00:00.000000Z",
    "started_at": "2026-11-22T12:00:03.500000Z",
}


def a_call(
    body: bytes = b'{"x":1}', *, stream: bool = False, task: Task = "infer", deadline: float = 1e9
) -> Call:
    return Call(id="c1", model="m", task=task, body=body, stream=stream, deadline=deadline)


def prediction(status: str = "succeeded", http: int = 200, **fields: Any) -> bytes:
    return answer({"id": "p1", "status": status, **fields}, http)


def streaming(site: str) -> bytes:
    """What a create answers for a model that streams."""
    return prediction("starting", 201, urls={"stream": f"{site}/stream/p1"})


def output(text: str, number: int | None = None) -> bytes:
    id_line = "" if number is None else f"id: 1:{number}\n"
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"event: output\n{id_line}{lines}\n".encode()


def named(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


SILENT = b":408: 408 Request Timeout\n"
"""What the platform says where a stream was silent for too long."""
OVER = named("done")


@contextlib.asynccontextmanager
async def platform(
    clock: FakeClock, *answers: bytes, streams: bool = False, **settings: Any
) -> AsyncIterator[tuple[Replicate, Scripted]]:
    """An adapter, started; with ``streams``, the first answer is a create that names a stream."""
    script = Scripted(answers)
    async with RawServer(script.talk).running() as server:
        if streams:
            script.prepend(streaming(server.url))
        given = {"api_key": Secret(KEY), "base_url": server.url + "/v1", **settings}
        if not given.keys() & {"model", "version", "deployment"}:
            given["deployment"] = "o/n"
        backend = Replicate("rep", ReplicateSettings(**given), clock)
        await backend.start()
        try:
            yield backend, script
        finally:
            await backend.aclose()


async def failing(clock: FakeClock, *answers: bytes, call: Call | None = None) -> BackendError:
    async with platform(clock, *answers) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(call or a_call()))
        return caught.value
