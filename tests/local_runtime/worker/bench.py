"""The socket's side of a worker on a bench: one peer, a fake runner, a fake clock."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.clock import FakeClock, settle
from local_runtime import Batch, Request, Runtime
from local_runtime.protocol.events import Cancel, Credit, Done, FromWorker, Ping, Ready, Run
from local_runtime.protocol.wire import FrameReader, decode_from_worker, frame
from local_runtime.webhooks import Webhooks
from local_runtime.worker.calls import WorkerCalls
from local_runtime.worker.jobs import Work

app = Runtime("fake")
READY = Ready(4, ("/", "/batch", "/padded", "/steps", "/later"), "cpu", 0, 0, 0)


@app.handler("/", timeout=10, warmup={"n": 1})
def plain(context: Any, request: Request) -> Any: ...


@app.handler("/batch", batch=Batch(max_size=2, max_wait_s=0.5), timeout=10)
def batch(context: Any, requests: list[Request]) -> Any: ...


@app.handler("/padded", batch=Batch(max_size=8, max_wait_s=0.5, bucket=lambda one: one.json["n"]))
def padded(context: Any, requests: list[Request]) -> Any: ...


@app.handler("/any", models="*")
def any_model(context: Any, request: Request, model: Any) -> Any: ...


class Idle:
    """A stepper that a fake runner never runs."""

    def __init__(self, context: Any) -> None: ...

    def admit(self, request: Request) -> None: ...

    def step(self, states: list[None]) -> list[None]:
        return states

    def evict(self, state: None) -> None: ...


app.stepper("/steps", max_size=2, timeout=10)(Idle)


@app.background("/later")
def later(context: Any, request: Request) -> Any: ...


class FakeRunner:
    """Runs nothing; a test says when a work ends."""

    def __init__(self) -> None:
        self.begun: list[Work] = []
        self.cancelled: list[Work] = []

    def begin(self, work: Work) -> None:
        self.begun.append(work)

    def cancel(self, work: Work) -> None:
        self.cancelled.append(work)


def end(calls: WorkerCalls, runner: FakeRunner, work: Work, results: list[Done]) -> None:
    """As the model's thread does it: it goes on to what comes next, and then reports."""
    following = calls.jobs.after(work)
    if following is not None:
        runner.begin(following)
    calls.jobs.finished(work, results, following)


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


class Bench:
    """A worker with one peer; what was sent to it is decoded from its frames."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.runner = FakeRunner()
        self.gave_up: list[str] = []
        self.calls = WorkerCalls(
            app=app,
            ready=READY,
            runner=self.runner,
            webhooks=Webhooks(),
            give_up=self.gave_up.append,
            clock=self.clock.monotonic,
            grace_s=5.0,
        )
        self.transport = FakeTransport()
        self.connection = self.calls.accept()
        self.connection.connection_made(self.transport)

    async def sent(self) -> list[FromWorker]:
        """What left so far: frames leave at the end of the loop's turn."""
        await settle()
        return [decode_from_worker(data) for data in FrameReader().feed(self.transport.written)]

    def say(self, event: Run | Cancel | Credit | Ping) -> None:
        self.connection.data_received(frame(event))

    def hang_up(self) -> None:
        self.connection.connection_lost(None)

    def end(self, work: Work) -> None:
        end(self.calls, self.runner, work, [Done(job.run.id, True, b"1") for job in work.jobs])

    def wake(self, seconds: float) -> None:
        """Lets time pass, and the timer ring."""
        self.clock.move(seconds)
        self.calls.jobs.wake()
