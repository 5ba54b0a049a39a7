"""A worker process: loads one app once and runs its calls until it is told to end.

    python -m local_runtime.worker APP --index 0 --socket PATH --life-fd FD --parent PID

A spare (``--standby``) waits for a Promote on its stdin before it goes on. The main thread
belongs to the model: import, init and handlers run there. A second thread has the socket, the
schedule and the pipe to the supervisor, so no handler can hold those up. Started by
``local_runtime.supervisor``; the end of stdin is the order to finish what runs and exit.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import faulthandler
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

import msgspec
import uvloop

from local_runtime import gc_tuning
from local_runtime.app import main_loop
from local_runtime.app.model_sizes import from_json
from local_runtime.app.runtime import Runtime
from local_runtime.protocol.events import Broken, Done, Piece, Promote, Ready, Standby, Waiting
from local_runtime.protocol.sockets import listen
from local_runtime.protocol.wire import ENVELOPE, FrameReader, decode_promote
from local_runtime.webhooks import Webhooks
from local_runtime.worker.calls import WorkerCalls
from local_runtime.worker.dispatcher import JobDispatcher, WorkerModels
from local_runtime.worker.engine import Engine
from local_runtime.worker.footprint import footprint
from local_runtime.worker.jobs import Job, Work
from local_runtime.worker.lifeline import Lifeline, die_with_parent, take_stdin
from local_runtime.worker.model_admission import ModelAdmission
from local_runtime.worker.models.loader import ModelLoader, free_on_device
from local_runtime.worker.no_models import NO_MODELS
from local_runtime.worker.startup import (
    StartFailed,
    StartTimes,
    Stopwatch,
    cache_of,
    initialise,
    load,
    load_pinned,
    ready_of,
    warm_up,
)

EXIT_BROKEN = 3
"""Load, init or warm-up failed, or a handler never came back; the supervisor knows why."""
HEARTBEAT_S = 1.0
"""Between two signs of life."""
DRAIN_S = 5.0
"""How long calls that run may take to end once stdin has ended."""
DRAIN_TICK_S = 0.02


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """An app that is ready to take calls."""

    app: Runtime
    ready: Ready
    engine: Engine
    socket: str
    stop: Callable[[], object]
    """Ends the model's thread."""
    models: WorkerModels = NO_MODELS


class SocketThread:
    """The thread of the socket, and the way into it from the model's thread."""

    def __init__(self, *, life: Lifeline, orders: int, limit: int, grace_s: float) -> None:
        self._life = life
        self._orders = orders
        self._limit = limit
        self._grace_s = grace_s
        self._calls: WorkerCalls | None = None
        self._jobs: JobDispatcher
        """Theirs; set before the model's thread runs the first."""
        self._server: asyncio.AbstractServer | None = None
        self._stop: Callable[[], object] = _exit_at_once
        self._frames = FrameReader()
        self._promotion: concurrent.futures.Future[Promote] = concurrent.futures.Future()
        self._loop = uvloop.new_event_loop()
        self._loop.add_reader(orders, self._on_order)
        threading.Thread(target=self._loop.run_forever, name="socket", daemon=True).start()

    async def promotion(self) -> Promote:
        """Says that this spare waits, and waits until it is to be a worker."""
        self._loop.call_soon_threadsafe(self._life.send, Waiting())
        return await asyncio.wrap_future(self._promotion)

    def open(self, opening: Opening) -> None:
        """Takes calls from now on."""
        self._loop.call_soon_threadsafe(self._open, opening)

    def output(self, job: Job, event: Piece) -> None:
        """Sends an item of a stream."""
        self._loop.call_soon_threadsafe(self._jobs.output, job, event)

    def finished(self, work: Work, results: list[Done]) -> Work | None:
        """Reports the end of a work; what is to be run next."""
        following = self._jobs.after(work)
        self._loop.call_soon_threadsafe(self._jobs.finished, work, results, following)
        return following

    def loaded(self, name: str, seconds: float) -> None:
        """Reports that a model is there."""
        self._loop.call_soon_threadsafe(self._jobs.loaded, name, seconds)

    def load_failed(self, name: str, message: str) -> None:
        """Reports that a model could not be loaded, and why."""
        self._loop.call_soon_threadsafe(self._jobs.load_failed, name, message)

    def _open(self, opening: Opening) -> None:
        self._stop = opening.stop
        self._calls = calls = WorkerCalls(
            app=opening.app,
            ready=opening.ready,
            runner=opening.engine,
            webhooks=Webhooks(),
            give_up=self._give_up,
            limit=self._limit,
            grace_s=self._grace_s,
            models=opening.models,
        )
        self._jobs = calls.jobs
        self._task = self._loop.create_task(self._listen(calls, opening))

    async def _listen(self, calls: WorkerCalls, opening: Opening) -> None:
        self._server = await listen(calls.accept, opening.socket)
        # The supervisor asks for no routes, and a long frame might not fit into the pipe.
        self._life.send(msgspec.structs.replace(opening.ready, routes=(), background=()))
        self._beat(calls)

    def _beat(self, calls: WorkerCalls) -> None:
        self._life.send(calls.heartbeat())
        with contextlib.suppress(Exception):  # a device that has failed says nothing
            calls.peers.send_memory(footprint())
        calls.peers.send_load()
        calls.peers.trim_memory(time.monotonic())
        self._loop.call_later(HEARTBEAT_S, self._beat, calls)

    def _give_up(self, reason: str) -> None:
        self._life.broken(Broken("handler", reason))
        os._exit(EXIT_BROKEN)

    def _on_order(self) -> None:
        if data := os.read(self._orders, 4096):
            for payload in self._frames.feed(data):
                self._promotion.set_result(decode_promote(payload))
            return
        self._loop.remove_reader(self._orders)
        if self._calls is None:
            _exit_at_once()
        else:
            self._drain(self._calls)

    def _drain(self, calls: WorkerCalls) -> None:
        if self._server is not None:
            self._server.close()
        calls.close()
        self._loop.call_later(DRAIN_S, _exit_at_once)
        self._stop_when_idle(calls)

    def _stop_when_idle(self, calls: WorkerCalls) -> None:
        if calls.idle:
            self._stop()
        else:
            self._loop.call_later(DRAIN_TICK_S, self._stop_when_idle, calls)


def _exit_at_once() -> None:
    os._exit(0)


async def run_app(options: argparse.Namespace, thread: SocketThread) -> None:
    """Starts the app and serves it until it is told to stop. Raises StartFailed."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    times, watch = StartTimes(process=max(0.0, time.monotonic() - options.born)), Stopwatch()
    app = load(options.app)
    times.load = watch.lap()
    if options.standby == "imported":
        await _wait_for_promotion(options, thread)
        watch.lap()
    context = await initialise(app)
    loaded: dict[str, Any] = {}
    engine = Engine(context, thread, limit=options.max_frame - ENVELOPE, models=loaded)
    loader = ModelLoader(app, context, thread, models=loaded, leaving=engine.drop_steppers)
    models = await _pinned(app, options, loader) if app.models else NO_MODELS
    times.init = watch.lap()
    await warm_up(app, engine)
    gc_tuning.freeze()
    times.warmup = watch.lap()
    if options.standby == "loaded":
        await _wait_for_promotion(options, thread)
    ready = ready_of(app, options.device, times, options.standby, options.max_frame)
    thread.open(
        Opening(
            app=app,
            ready=ready,
            engine=engine,
            socket=options.socket,
            stop=partial(loop.call_soon_threadsafe, stopped.set),
            models=models,
        )
    )
    await stopped.wait()


async def _pinned(app: Runtime, options: argparse.Namespace, loader: ModelLoader) -> ModelAdmission:
    """The app's models, with the pinned ones loaded. Raises StartFailed."""
    capacity = options.memory or free_on_device(options.device)
    cache = cache_of(app, from_json(options.models), capacity)
    await load_pinned(cache, loader)
    timeouts = {model.name: model.timeout_s for model in app.models.values()}
    return ModelAdmission(cache, timeouts, loader.begin)


async def _wait_for_promotion(options: argparse.Namespace, thread: SocketThread) -> None:
    """Waits until a worker is needed, and becomes it. Libraries read what they may see when the
    device is first used, which is in init."""
    promote = await thread.promotion()
    options.socket, options.device = promote.socket, promote.device
    os.environ |= {"SPILLGATE_DEVICE": promote.device, "SPILLGATE_WORKER": str(promote.index)}
    if promote.visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = promote.visible


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local_runtime.worker", description=__doc__)
    parser.add_argument("app", help="folder/file.py:app or package.module:app")
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--socket", default="", help="Unix socket to listen on once ready, or fd:N")
    parser.add_argument("--life-fd", type=int, required=True, help="pipe to the supervisor")
    parser.add_argument("--parent", type=int, required=True, help="process to die with")
    parser.add_argument("--born", type=float, default=math.inf, help="when it was started")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--standby", choices=get_args(Standby), default="none")
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--max-frame", type=int, required=True)
    parser.add_argument("--memory", type=int, help="bytes that its models share")
    parser.add_argument("--models", default="", help="what they are declared to be, as JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one worker until it is told to end; its exit status."""
    options = _arguments(arguments)
    die_with_parent(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    life = Lifeline(options.life_fd)
    orders = take_stdin()
    thread = SocketThread(life=life, orders=orders, limit=options.max_frame, grace_s=options.grace)
    try:
        main_loop.run(run_app(options, thread), uvloop.new_event_loop)
    except StartFailed as failure:
        life.broken(failure.broken)
        return EXIT_BROKEN
    return 0
