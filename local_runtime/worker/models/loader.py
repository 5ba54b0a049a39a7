"""The models of a worker as objects, and how they come and go.

A plain loader runs in a thread of its own, one at a time, so that calls whose models are there go
on beside it as far as it leaves them the interpreter; an ``async def`` runs in the model's thread,
which others have between its awaits. What captures CUDA graphs must be one: CUDA allows no other
thread to allocate meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from local_runtime.app.runtime import Model, Runtime
from local_runtime.worker.models.cache import LoadModel, Step


class Listener(Protocol):
    """Whom a load's end is reported to. Called in any thread."""

    def loaded(self, name: str, seconds: float) -> None:
        """A load has ended well, after so many seconds."""
        ...

    def load_failed(self, name: str, message: str) -> None:
        """A load has ended without a model; ``message`` is fit for callers."""
        ...


class LoadFailed(Exception):
    """``str()`` is fit for the caller; the traceback is in the worker's log."""


class ModelLoader:
    """Carries out what the cache plans. ``models`` holds what is loaded, by name; ``leaving`` is
    called with the name of one before it is unloaded, in another thread than the model's. Made in
    the model's thread."""

    def __init__(
        self,
        app: Runtime,
        context: dict[str, Any],
        listener: Listener,
        clock: Callable[[], float] = time.monotonic,
        *,
        models: dict[str, Any] | None = None,
        leaving: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.models: dict[str, Any] = {} if models is None else models
        self._leaving = leaving
        self._declared = app.models
        self._context = context
        self._listener = listener
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    async def load(self, name: str) -> float:
        """Loads one in the model's thread, before any call; the seconds that it took. Raises
        LoadFailed."""
        begun = self._clock()
        try:
            self.models[name] = await _value(self._declared[name].load(self._context))
        except BaseException as error:
            raise _failure(name, error) from None
        return self._clock() - begun

    def begin(self, steps: Sequence[Step]) -> None:
        """Carries out the steps, one after another, in a thread beside; may be called from any
        thread, and not again before the listener has heard of the load among them."""
        threading.Thread(target=self._run, args=(steps,), name="loader", daemon=True).start()

    def _run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, LoadModel):
                self._load(step.model)
            else:
                self._unload(self._declared[step.model])

    def _load(self, name: str) -> None:
        begun = self._clock()
        try:
            self.models[name] = self._called(self._declared[name].load, self._context)
        except BaseException as error:
            message = str(_failure(name, error))
            release_memory()
            self._listener.load_failed(name, message)
        else:
            self._listener.loaded(name, self._clock() - begun)

    def _unload(self, model: Model) -> None:
        """What its ``unload`` raises is logged: no call is to blame, and the model goes."""
        self._leaving(model.name)
        loaded = self.models.pop(model.name)
        if model.unload is not None:
            try:
                self._called(model.unload, loaded)
            except BaseException as error:
                _log(error)
        del loaded
        release_memory()

    def _called(self, function: Callable[[Any], Any], argument: Any) -> Any:
        value = function(argument)
        if inspect.isawaitable(value):
            return asyncio.run_coroutine_threadsafe(_value(value), self._loop).result()
        return value


def release_memory() -> None:
    """What was dropped is free again, for this process and for others on the device: cycles are
    collected, and torch gives back what it keeps."""
    gc.collect()
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        cuda.empty_cache()


def free_on_device(device: str) -> int | None:
    """Bytes that are free on the worker's first GPU; None where it uses none, or torch is not
    imported. ``device`` is as SPILLGATE_DEVICE says."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if device == "cpu" or cuda is None or not cuda.is_available():
        return None
    return int(cuda.mem_get_info()[0])


async def _value(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _failure(name: str, error: BaseException) -> LoadFailed:
    _log(error)
    return LoadFailed(f"the model {name} could not be loaded ({type(error).__name__})")


def _log(error: BaseException) -> None:
    """Where the app has not closed the log."""
    with contextlib.suppress(Exception):
        traceback.print_exception(error)
