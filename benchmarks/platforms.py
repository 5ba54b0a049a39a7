"""A stand-in for the platform of every HTTP kind, and a backend of each kind in front of it.

It answers at once and in as few steps as will do, so that a call's time is the caller's own:

    python -m benchmarks.platforms          # prints its port; ends when its standard input does

The first part of a path names the kind, whose answer is always the same one; ``/stats`` tells how
many connections and requests there were.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop

from adapters import load_kind
from adapters.base import Backend
from adapters.settings import Secret
from adapters.types import Call, Task
from gateway.clock import SystemClock

ROOT = Path(__file__).parents[1]
_KEY = Secret("sk-benchmark")
_COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "A spill gate carries the flood."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
}
_OUTPUT = {"text": "A spill gate carries the flood.", "scores": [0.25, 0.5]}
_CHAT = json.dumps(
    {
        "model": "m",
        "messages": [{"role": "user", "content": "What does a spill gate carry? " * 6}],
        "max_tokens": 64,
    }
).encode()
_INFER = json.dumps({"prompt": "What does a spill gate carry? " * 7, "steps": 4}).encode()


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """One kind: how it is asked, and what its platform answers with 200."""

    kind: str
    task: Task = "infer"
    answer: dict[str, Any]
    settings: Callable[[str], dict[str, Any]]
    """From the stand-in's address for it to the kind's settings."""

    @property
    def body(self) -> bytes:
        return _CHAT if self.task == "chat" else _INFER


def _keyed(url: str) -> dict[str, Any]:
    return {"base_url": url, "api_key": _KEY}


PLATFORMS: dict[str, Platform] = {
    "openai": Platform(
        kind="openai", task="chat", answer=_COMPLETION, settings=lambda url: _keyed(url + "/v1")
    ),
    "vercel": Platform(
        kind="vercel",
        task="chat",
        answer=_COMPLETION,
        settings=lambda url: {**_keyed(url + "/v1"), "cost_wait": 0.0},
    ),
    "huggingface": Platform(kind="huggingface", task="chat", answer=_COMPLETION, settings=_keyed),
    "baseten": Platform(
        kind="baseten",
        answer=_OUTPUT,
        settings=lambda url: {**_keyed(url), "model": "m1"},
    ),
    "runpod": Platform(
        kind="runpod",
        answer={
            "id": "job-1",
            "status": "COMPLETED",
            "output": _OUTPUT,
            "delayTime": 12,
            "executionTime": 340,
            "workerId": "w1",
        },
        settings=lambda url: {**_keyed(url), "endpoint": "e1"},
    ),
    "runpod_direct": Platform(
        kind="runpod",
        answer=_OUTPUT,
        settings=lambda url: {
            "api_key": _KEY,
            "endpoint": "e1",
            "mode": "load_balancer",
            "balancer_url": url,
            "infer_path": "/generate",
        },
    ),
    "replicate": Platform(
        kind="replicate",
        answer={
            "id": "p1",
            "status": "succeeded",
            "output": _OUTPUT,
            "metrics": {"predict_time": 0.34, "total_time": 0.4},
            "urls": {},
        },
        settings=lambda url: {**_keyed(url + "/v1"), "model": "acme/gate"},
    ),
    "cog": Platform(
        kind="cog",
        answer={
            "id": "$ID",
            "status": "succeeded",
            "output": _OUTPUT,
            "metrics": {"predict_time": 0.34},
        },
        settings=lambda url: {"base_url": url, "max_connections": 256},
    ),
    "potassium": Platform(kind="potassium", answer=_OUTPUT, settings=lambda url: {"base_url": url}),
    "modal_web": Platform(kind="modal", answer=_OUTPUT, settings=lambda url: {"url": url}),
    "http": Platform(kind="http", answer=_OUTPUT, settings=lambda url: {"base_url": url}),
}


def backend_of(name: str, address: str, **settings: Any) -> Backend:
    """A backend of that kind, not yet started, in front of the stand-in at ``address``."""
    platform = PLATFORMS[name]
    adapter = load_kind(platform.kind)
    told = {**platform.settings(f"{address}/{name}"), **settings}
    return adapter(name, adapter.Settings(**told), SystemClock())


def call_of(name: str, id: str) -> Call:
    platform = PLATFORMS[name]
    return Call(id=id, model="m", task=platform.task, body=platform.body)


# --- the stand-in -------------------------------------------------------------------------------


def _whole(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


_BODIES = {name: json.dumps(one.answer).encode() for name, one in PLATFORMS.items()}
_WHOLE = {name: _whole(body) for name, body in _BODIES.items() if b"$ID" not in body}


class Counts:
    def __init__(self) -> None:
        self.connections = 0
        self.requests: dict[str, int] = dict.fromkeys(PLATFORMS, 0)
        self.last: dict[str, bytes] = {}
        """The bytes of the last request of each kind."""

    def answer(self, request: bytes) -> bytes:
        target = request[: request.index(b"\r\n")].split(b" ")[1].decode()
        name = target.split("/")[1]
        if name == "stats":
            found = {"connections": self.connections, "requests": self.requests}
            return _whole(json.dumps(found).encode())
        self.requests[name] += 1
        self.last[name] = request
        if name in _WHOLE:
            return _WHOLE[name]
        id = target.rpartition("/")[2].encode()
        return _whole(_BODIES[name].replace(b"$ID", id))


class Answering(asyncio.Protocol):
    """One connection: a request, its answer, the next one."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._counts.connections += 1

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (size := _size(self._data)) is not None:
            request, self._data = self._data[:size], self._data[size:]
            self._transport.write(self._counts.answer(request))


def _size(data: bytes) -> int | None:
    """Bytes of the first request in ``data``, once it is whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end].lower()
    at = head.find(b"content-length:")
    length = 0 if at < 0 else int(head[at + 15 :].split(b"\r\n", 1)[0])
    size = end + 4 + length
    return size if len(data) >= size else None


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[tuple[str, Counts]]:
    """The stand-in in this loop: its address, and what it counts."""
    counts = Counts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(counts), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", counts
    finally:
        server.close()


@contextlib.contextmanager
def apart() -> Iterator[str]:
    """The stand-in as a process of its own, so that its CPU is not the caller's."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.platforms"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip()
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


async def _serve() -> None:
    async with answering() as (address, _):
        print(address, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve())
