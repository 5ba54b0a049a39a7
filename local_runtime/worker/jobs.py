"""One call inside a worker, from its arrival to its answer, as both threads see it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Hashable

import msgspec

from local_runtime.app.request import Cancellation, Request
from local_runtime.app.runtime import Handler
from local_runtime.protocol.events import Done, Respond, Run
from local_runtime.protocol.wire import STREAM_WINDOW

_WINDOWS = threading.Lock()
"""One for all windows: each is locked for an instant, and most calls never need theirs."""


class Window:
    """How many bytes of a stream may still be sent before the reader gives credit.

    The model's thread spends and waits; the socket's thread grants. A reader that reads nothing
    holds up its own stream, never the socket.
    """

    __slots__ = ("_left", "_waiter")

    def __init__(self) -> None:
        self._left = STREAM_WINDOW
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    def spend(self, size: int) -> bool:
        """Counts ``size`` bytes as sent; False when the next item must wait."""
        with _WINDOWS:
            self._left -= size
            return self._left > 0

    def grant(self, size: int) -> None:
        """The reader has taken ``size`` bytes: so many more may be sent."""
        with _WINDOWS:
            self._left += size
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            loop, future = waiter
            loop.call_soon_threadsafe(_wake, future)

    def open(self) -> None:
        """Lets the generator go on for good: the stream is over."""
        self.grant(1 << 62)

    async def wait(self) -> None:
        """Suspends the one generator of this stream until there is room; others run on."""
        while (future := self.closed()) is not None:
            await future

    def closed(self) -> asyncio.Future[None] | None:
        """None when there is room; else what is done when there may be. One waits at a time."""
        with _WINDOWS:
            if self._left > 0:
                return None
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            self._waiter = (loop, future)
            return future


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Meter:
    """What a sequence has used so far. The model's thread writes it; the socket's thread reads it
    when it ends the call before the model does."""

    __slots__ = ("batch", "gpu_s", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.gpu_s = 0.0
        self.batch = 1
        """The most that it was stepped with, itself included."""
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None

    def took(self, spent_s: float, batch: int) -> None:
        """It took part in a step of ``batch`` sequences that lasted ``spent_s``."""
        self.gpu_s += spent_s / batch
        self.batch = max(self.batch, batch)

    def count(self, prompt: int | None, completion: int | None) -> None:
        """Tokens so far; None: as before."""
        self.input_tokens = self.input_tokens if prompt is None else prompt
        self.output_tokens = self.output_tokens if completion is None else completion

    def on(self, done: Done) -> Done:
        """The end of the call with these figures."""
        return msgspec.structs.replace(
            done,
            gpu_s=self.gpu_s,
            batch=self.batch,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
        )


class Job:
    """A call that the worker has. Only the socket's thread touches it, apart from ``run``,
    ``request``, ``cancellation``, ``tokens``, ``window`` and ``meter``, which the model's thread
    knows."""

    __slots__ = (
        "answer",
        "arrived",
        "bucket",
        "cancellation",
        "cold_s",
        "handler",
        "has_model",
        "meter",
        "model",
        "open",
        "request",
        "run",
        "tokens",
        "window",
        "work",
    )

    def __init__(self, run: Run, handler: Handler, arrived: float, answer: Respond) -> None:
        self.run = run
        self.handler = handler
        self.arrived = arrived
        self.answer = answer
        """Sends to whoever asked; called at most once with a Done."""
        self.open = True
        """Not yet answered with a Done."""
        self.bucket: Hashable = None
        """Which jobs it may share a batch with."""
        self.request: Request | None = None
        """What the handler is given, where it is decoded already."""
        self.cancellation = Cancellation()
        self.window = Window()
        self.meter = Meter() if handler.stepper else None
        self.tokens: tuple[int | None, int | None] = (None, None)
        """Prompt and completion tokens, as far as the items of its stream have said."""
        self.work: Work | None = None
        self.model = ""
        """The model that it needs; none, unless its handler takes models."""
        self.has_model = False
        """It uses that model, which stays in memory meanwhile."""
        self.cold_s = 0.0
        """Seconds that it waited for that."""

    def counted(self, done: Done) -> Done:
        """Its end, with the tokens that its stream has said, however it ended: they were used."""
        prompt, completion = self.tokens
        if prompt is None:
            return done
        return msgspec.structs.replace(done, input_tokens=prompt, output_tokens=completion)

    def close(self) -> None:
        """Nobody waits any more: sets the handler's cancellation, and never lets it wait for a
        reader."""
        self.open = False
        self.cancellation.set()
        self.window.open()


class Work:
    """What the model's thread runs in one go: one job, or a batch of one handler's jobs."""

    __slots__ = ("ends_at", "expired", "handler", "jobs", "started")

    def __init__(self, handler: Handler, jobs: list[Job], started: float) -> None:
        self.handler = handler
        self.jobs = jobs
        self.started = started
        self.ends_at = min(
            started + handler.timeout_s, max(map(_wanted_until, jobs), default=math.inf)
        )
        """When it is past its time-out: its handler's, or that of all its callers."""
        self.expired = False
        """It is past its time-out, and its callers have their answers."""

    def share(self, now: float) -> tuple[float, float]:
        """Seconds it has run, and one job's share of them."""
        exec_s = max(0.0, now - self.started)
        return exec_s, exec_s / len(self.jobs)


def _wanted_until(job: Job) -> float:
    return job.arrived + (job.run.within or math.inf)
