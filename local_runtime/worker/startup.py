"""From an app's name to a warm model: load, init, warm-up calls. Runs in the model's thread."""

from __future__ import annotations

import asyncio
import inspect
import math
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from local_runtime.app.find_app import AppNotFound, load_app
from local_runtime.app.model_sizes import ModelSizes
from local_runtime.app.openapi import openapi_of
from local_runtime.app.runtime import ALL, Handler, Runtime
from local_runtime.protocol.events import PROTOCOL, Broken, Done, Ready, Run, Stage, Standby
from local_runtime.worker.engine import Context, Engine
from local_runtime.worker.jobs import Job, Work
from local_runtime.worker.models.cache import DoesNotFit, ModelCache
from local_runtime.worker.models.loader import LoadFailed, ModelLoader
from local_runtime.worker.results import encode

MOST_DESCRIBED = 64 * 1024
"""Bytes of what an app says of its handlers."""


class StartFailed(Exception):
    """The worker cannot start; ``broken`` says where and why."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.message)
        self.broken = broken


def load(name: str) -> Runtime:
    """The app. Raises StartFailed."""
    try:
        return load_app(name)
    except AppNotFound as error:
        raise StartFailed(Broken("load", str(error), permanent=True)) from None
    except (Exception, SystemExit) as error:
        raise _failure("load", f"importing {name} failed", error) from None


async def initialise(app: Runtime) -> Context:
    """What the app's init returns. Raises StartFailed."""
    if app.init_function is None:
        return {}
    try:
        context: Any = app.init_function()
        if inspect.isawaitable(context):
            context = await context
    except (Exception, SystemExit) as error:
        raise _failure("init", "init failed", error) from None
    if not isinstance(context, dict | None):
        text = f"init returned a {type(context).__name__}; it must return a dict"
        raise StartFailed(Broken("init", text, permanent=True))
    return cast("Context", context or {})


def cache_of(app: Runtime, given: Mapping[str, ModelSizes], capacity: int | None) -> ModelCache:
    """The cache of the app's models. ``given`` is what whoever starts the worker says of them, and
    counts before the app's own word. Raises StartFailed for what can never be served."""
    wanted = {name for handler in app.handlers.values() for name in handler.models} - {ALL}
    for name in (*given, *sorted(wanted)):
        if name not in app.models:
            raise _hopeless(f"the app has no model {name!r}")
    models: dict[str, ModelSizes] = {}
    for name, model in app.models.items():
        declared = given.get(name)
        if declared is None and model.memory is None:
            raise _hopeless(f"neither the app nor the policy says how large the model {name} is")
        models[name] = declared or ModelSizes(memory=model.memory or 0, pin=model.pin)
    try:
        return ModelCache(models, math.inf if capacity is None else capacity)
    except DoesNotFit as error:
        raise _hopeless(str(error)) from None


async def load_pinned(cache: ModelCache, loader: ModelLoader) -> None:
    """Loads the pinned models. Raises StartFailed when one cannot be loaded."""
    for step in cache.load_first():
        try:
            cache.loaded(step.model, await loader.load(step.model))
        except LoadFailed as error:
            raise StartFailed(Broken("init", str(error))) from None


def _hopeless(text: str) -> StartFailed:
    return StartFailed(Broken("init", text, permanent=True))


async def warm_up(app: Runtime, engine: Engine) -> None:
    """Makes the steppers of no model, and runs every sample twice: alone, and in the largest
    batch that can come. Raises StartFailed when one fails: the first caller's would too."""
    _make_steppers(app, engine)
    for handler in app.handlers.values():
        if handler.warmup is None:
            continue
        for size in (1, handler.slots if handler.batch or handler.stepper else 1):
            for done in await _run_together(handler, size, engine):
                if not done.ok:
                    text = f"the warm-up of {handler.route} failed: {done.message}"
                    raise StartFailed(Broken("warmup", text))


class StartTimes(msgspec.Struct, kw_only=True):
    """Seconds of each stage of one start."""

    process: float = 0.0
    load: float = 0.0
    init: float = 0.0
    warmup: float = 0.0


def _make_steppers(app: Runtime, engine: Engine) -> None:
    for handler in app.handlers.values():
        if handler.stepper and not handler.models:
            try:
                engine.stepper_loop(handler)
            except (Exception, SystemExit) as error:
                raise _failure("init", f"the stepper of {handler.route} failed", error) from None


async def _run_together(handler: Handler, size: int, engine: Engine) -> list[Done]:
    """A batch of samples, or as many sequences at once."""
    if not handler.stepper:
        return await engine.run(_sample(handler, size))
    runs = [engine.run(_sample(handler, 1)) for _ in range(size)]
    return [done for (done,) in await asyncio.gather(*runs)]


def ready_of(
    app: Runtime, device: str, times: StartTimes, standby: Standby, max_frame: int
) -> Ready:
    """What a worker says first: what it serves, on which device, and how its start went."""
    return Ready(
        slots=max(_slots_of(app, handler) for handler in app.handlers.values()),
        routes=tuple(app.handlers),
        device=used_device(device),
        load_s=times.load,
        init_s=times.init,
        warmup_s=times.warmup,
        background=tuple(route for route, handler in app.handlers.items() if handler.background),
        process_s=times.process,
        standby=standby,
        protocol=PROTOCOL,
        max_frame=max_frame,
        models={
            route: tuple(name for name in app.models if handler.takes(name))
            for route, handler in app.handlers.items()
            if handler.background and handler.models
        },
        says_started=app.says_started,
        described=described(app),
    )


def described(app: Runtime) -> bytes:
    """What the app says of its handlers, as JSON; nothing where that is larger than it is worth on
    every connection, or cannot be made."""
    try:
        document = msgspec.json.encode(openapi_of(app))
    except Exception:  # of types that are a stranger's
        return b""
    return document if len(document) <= MOST_DESCRIBED else b""


def _slots_of(app: Runtime, handler: Handler) -> int:
    """A stepper has its places for each of its models."""
    if not (handler.stepper and handler.models):
        return handler.slots
    return handler.slots * sum(handler.takes(name) for name in app.models)


def used_device(wanted: str) -> str:
    """The device in words: of "auto", what torch would pick, where the app has imported it."""
    torch = sys.modules.get("torch")
    if wanted != "auto" or torch is None:
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


class Stopwatch:
    """Seconds since the last lap."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last lap, and begins another."""
        now = time.monotonic()
        spent, self._last = now - self._last, now
        return spent


def _sample(handler: Handler, size: int) -> Work:
    run = Run(0, handler.route, encode(handler.warmup), request="warmup")
    now = time.monotonic()
    return Work(handler, [Job(run, handler, now, _ignore) for _ in range(size)], now)


def _ignore(event: msgspec.Struct) -> None:
    """Nobody waits for a warm-up's answer."""


def _failure(stage: Stage, what: str, error: BaseException) -> StartFailed:
    traceback.print_exception(error)
    return StartFailed(Broken(stage, f"{what}: {type(error).__name__}: {error}"))
