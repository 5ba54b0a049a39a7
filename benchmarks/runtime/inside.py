"""What a call costs inside the runtime's two socket loops: no socket, no model, no other process.

    python -m benchmarks.runtime.inside

Prints microseconds a call, the least of many turns: of the app's own server (a request read and
handed over, its answer written), and of a worker's thread of the socket (a call taken and queued,
its answer sent). The kernel and the model come on top; the least of many turns moves little with
what else the machine does, so that two versions can be compared.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import msgspec

from benchmarks.runtime.apps.batching import BATCH
from benchmarks.runtime.apps.payload import sample
from local_runtime import Batch, Request, Runtime
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.managed import ManagedWorkers
from local_runtime.client.workers import Workers
from local_runtime.clock import SystemClock
from local_runtime.http.server_state import ServerState
from local_runtime.protocol.events import Done, Ready, Run
from local_runtime.protocol.wire import MAX_FRAME, FrameReader, decode_to_worker, frame
from local_runtime.server.dispatcher import AppDispatcher
from local_runtime.server.fast_path import FastPathHttp
from local_runtime.server.routes import DISPATCHER, application, lifespan_of
from local_runtime.webhooks import Webhooks
from local_runtime.worker.calls import WorkerCalls
from local_runtime.worker.jobs import Work

TURNS = 2000
CONNECTIONS = 32
ROUTE = "/predict"
BODY = json.dumps(sample()).encode()
HEAD = f"POST {ROUTE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
REQUEST = f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
ANSWER = msgspec.json.encode({"y": [0.123456] * 16})
READY = Ready(BATCH, (ROUTE,), "cpu", 0, 0, 0)

app = Runtime("inside")


@app.handler(ROUTE, batch=Batch(max_size=BATCH))
def predict(context: Any, requests: list[Request]) -> list[Any]:
    """Is never run: who measures ends its works."""
    return requests


class Kept(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def resume_reading(self) -> None: ...

    def pause_reading(self) -> None: ...

    def take(self) -> bytes:
        taken, self.written = self.written, b""
        return taken


class Begun:
    """A runner that keeps the works that it is to run."""

    def __init__(self) -> None:
        self.works: list[Work] = []

    def begin(self, work: Work) -> None:
        self.works.append(work)

    def cancel(self, work: Work) -> None: ...


async def server(turns: int = TURNS) -> float:
    """Microseconds a call in the app's own server."""
    workers = Workers("worker", ManagedWorkers((), SystemClock()), MAX_FRAME, SystemClock())
    dispatcher = AppDispatcher(workers, SystemClock(), max_message=MAX_FRAME)
    connection, wire = WorkerConnection("worker-0", lambda one: None, MAX_FRAME), Kept()
    connection.socket.connection_made(wire)
    connection.socket.data_received(frame(READY))
    workers.connections, workers.slots = (connection,), READY.slots
    callers = [_caller(dispatcher) for _ in range(CONNECTIONS)]
    least = float("inf")
    for _ in range(turns):
        begun = time.perf_counter()
        for protocol, _ in callers:
            protocol.data_received(REQUEST)
        await asyncio.sleep(0)
        spent = time.perf_counter() - begun
        asked = [decode_to_worker(one) for one in FrameReader().feed(wire.take())]
        ids = [one.id for one in asked if isinstance(one, Run)]
        answers = b"".join(frame(Done(id, True, ANSWER, batch=BATCH)) for id in ids)
        begun = time.perf_counter()
        connection.socket.data_received(answers)
        await asyncio.sleep(0)
        least = min(least, spent + time.perf_counter() - begun)
        assert all(kept.take().startswith(b"HTTP/1.1 200 OK") for _, kept in callers)
    return least / CONNECTIONS * 1e6


def _caller(dispatcher: AppDispatcher) -> tuple[FastPathHttp, Kept]:
    app = application(dispatcher, lifespan_of(dispatcher))
    protocol, kept = FastPathHttp(app, ServerState(), {DISPATCHER: dispatcher}), Kept()
    protocol.connection_made(kept)
    return protocol, kept


async def worker(turns: int = TURNS) -> float:
    """Microseconds a call in a worker's thread of the socket, with the device always busy."""
    runner = Begun()
    calls = WorkerCalls(
        app=app, ready=READY, runner=runner, webhooks=Webhooks(), give_up=print, grace_s=5
    )
    connection, wire = calls.accept(), Kept()
    connection.connection_made(wire)
    frames = b"".join(frame(Run(id, ROUTE, BODY, "a" * 32, direct=True)) for id in range(BATCH))
    connection.data_received(frames)
    connection.data_received(frames)
    least = float("inf")
    for _ in range(turns):
        work = runner.works.pop(0)
        following = calls.jobs.after(work)
        if following is not None:
            runner.begin(following)
        results = [Done(job.run.id, True, ANSWER) for job in work.jobs]
        begun = time.perf_counter()
        connection.data_received(frames)
        calls.jobs.finished(work, results, following)
        await asyncio.sleep(0)
        least = min(least, time.perf_counter() - begun)
        assert wire.take()
    return least / BATCH * 1e6


async def main() -> int:
    print(f"the app's own server       {await server():6.2f} µs a call")
    print(f"a worker's socket thread   {await worker():6.2f} µs a call")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
