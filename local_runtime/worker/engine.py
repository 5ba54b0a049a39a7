"""Runs handlers: everything here happens in the model's thread, the main thread of a worker.

Synchronous handlers block that thread, as a device would; asynchronous ones share it. A stream
lets the others go on between its items. Whatever a handler raises fails its call and no more:
BaseException too, of which an extension in Rust makes its panics.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from local_runtime.app.request import Request, Response
from local_runtime.app.runtime import Handler
from local_runtime.protocol.events import Done
from local_runtime.protocol.wire import ENVELOPE, MAX_FRAME
from local_runtime.worker.continuous_batch import ContinuousBatch, make_stepper
from local_runtime.worker.jobs import Job, Work
from local_runtime.worker.requests import request_of
from local_runtime.worker.results import (
    cancelled,
    failed,
    head_of,
    item,
    logged,
    raw_item,
    succeeded,
)
from local_runtime.worker.stepper_loop import Outlet, StepperLoop

Context = dict[str, Any]
Monotonic = Callable[[], float]
STALL_S = 30.0
"""How long a synchronous generator, which holds the device, waits for a reader."""
_NONE: Mapping[str, Any] = MappingProxyType({})


class Sink(Outlet, Protocol):
    """Where results go. Called in the model's thread."""

    def finished(self, work: Work, results: list[Done]) -> Work | None:
        """``results`` are in the order of ``work.jobs``. The last word on the work; what comes back
        is to be run next."""
        ...


class Engine:
    """Runs works one after another or side by side, on the loop of the model's thread.

    ``limit`` bounds one result, or one item of a stream, in bytes of JSON. ``models`` has those
    that are loaded: a work comes only while its model is, and that stays until the work has ended.
    ``stall_s`` is how many seconds a stream that has the device waits for its reader.
    """

    def __init__(
        self,
        context: Context,
        sink: Sink,
        *,
        limit: int = MAX_FRAME - ENVELOPE,
        clock: Monotonic = time.monotonic,
        models: Mapping[str, Any] = _NONE,
        stall_s: float = STALL_S,
    ) -> None:
        self._context = context
        self._models = models
        self._sink = sink
        self._limit = limit
        self._clock = clock
        self._stall_s = stall_s
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[Work, asyncio.Task[list[Done]]] = {}
        self._loops: dict[str, dict[Callable[..., Any], StepperLoop]] = {"": {}}
        """By model; those of no model under ""."""

    def begin(self, work: Work) -> None:
        """Starts the work; may be called from any thread."""
        self._loop.call_soon_threadsafe(self._spawn, work)

    def cancel(self, work: Work) -> None:
        """Cancels what can be cancelled, at its next await; may be called from any thread."""
        self._loop.call_soon_threadsafe(self._interrupt, work)

    def stepper_loop(self, handler: Handler, model: str = "") -> StepperLoop:
        """The loop of a stepper's sequences: one for all its routes, of each model. The first time
        it makes the stepper, and raises what that raises."""
        loops = self._loops.get(model)
        found = loops.get(handler.function) if loops else None
        return self._make_loop(handler, model) if found is None else found

    def drop_steppers(self, model: str) -> None:
        """Drops the steppers of a model that no call uses, between two calls in the model's
        thread, and waits for that; called from any other thread."""
        if model in self._loops:
            asyncio.run_coroutine_threadsafe(self._drop(model), self._loop).result()

    async def _drop(self, model: str) -> None:
        del self._loops[model]

    def _make_loop(self, handler: Handler, model: str) -> StepperLoop:
        loaded = (self._models[model],) if model else ()
        stepper = make_stepper(handler, self._context, *loaded)
        batch = ContinuousBatch(stepper, retry=handler.retry, clock=self._clock)
        found = StepperLoop(batch, self._sink, size=handler.concurrency, limit=self._limit)
        self._loops.setdefault(model, {})[handler.function] = found
        return found

    def _spawn(self, work: Work) -> None:
        task = self._tasks[work] = self._loop.create_task(self.run(work))
        task.add_done_callback(partial(self._report, work))

    def _interrupt(self, work: Work) -> None:
        task = self._tasks.get(work)
        if task is not None:
            task.cancel()

    def _report(self, work: Work, task: asyncio.Task[list[Done]]) -> None:
        """As a callback, because a task that is cancelled before its first step runs no line of
        its own, and the device would stay taken."""
        del self._tasks[work]
        if task.cancelled():
            results = [cancelled(job.run.id) for job in work.jobs]
        elif (error := task.exception()) is not None:
            results = [logged(failed(job.run.id, error)) for job in work.jobs]
        else:
            results = task.result()
        following = self._sink.finished(work, results)
        if following is not None:
            self._spawn(following)

    async def run(self, work: Work) -> list[Done]:
        """The results of the work's jobs, in their order, with their times."""
        if work.handler.stepper:
            return [await self._stepped(work.jobs[0])]
        begun = self._clock()
        if work.handler.batch is not None:
            results = await self._batch(work.jobs)
        else:
            results = [await self._alone(work.jobs[0])]
        return [
            msgspec.structs.replace(done, queue_s=max(0.0, begun - job.arrived))
            for job, done in zip(work.jobs, results, strict=True)
        ]

    async def _stepped(self, job: Job) -> Done:
        try:
            loop = self.stepper_loop(job.handler, job.model)
        except BaseException as error:
            return logged(failed(job.run.id, error))
        return await loop.run(job)

    async def _alone(self, job: Job) -> Done:
        begun = self._clock()
        try:
            value = await self._call(job, request_of(job))
            if _is_generator(value):
                done = await self._stream(job, value)
            elif isinstance(value, Response) and _is_generator(value.body):
                done = await self._raw(job, value)
            else:
                done = succeeded(job.run.id, value, self._limit)
        except BaseException as error:
            ours = _is_ours(error)
            done = cancelled(job.run.id) if ours else logged(failed(job.run.id, error))
        spent = self._clock() - begun
        return job.counted(msgspec.structs.replace(done, exec_s=spent, gpu_s=spent))

    async def _stream(self, job: Job, source: Any) -> Done:
        if not job.run.stream:
            return await self._collected(job, source)
        async with aclosing(_items(source)) as items:
            async for value in items:
                if job.cancellation.is_set():
                    return cancelled(job.run.id)
                output = item(job.run.id, value, self._limit)
                if output.input_tokens is not None:
                    job.tokens = output.input_tokens, output.output_tokens
                self._sink.output(job, output)
                if not job.window.spend(len(output.data)) and not await self._caught_up(job):
                    return self._unread(job.run.id)
        return Done(job.run.id, True)

    async def _raw(self, job: Job, response: Response) -> Done:
        """A body of bytes in pieces: behind its Head for the app's own server, else as a whole,
        or each piece as the text of one event."""
        piecewise = job.run.direct and not job.handler.background
        if not piecewise and job.run.stream:
            return await self._stream(job, _texts(response.body))
        if piecewise:
            self._sink.output(job, head_of(job.run.id, response))
        pieces = []
        async with aclosing(_items(response.body)) as items:
            async for value in items:
                if job.cancellation.is_set():
                    return cancelled(job.run.id)
                output = raw_item(job.run.id, value, self._limit)
                if not piecewise:
                    pieces.append(output.data)
                    continue
                self._sink.output(job, output)
                if not job.window.spend(len(output.data)) and not await self._caught_up(job):
                    return self._unread(job.run.id)
        if piecewise:
            return Done(job.run.id, True)
        whole = msgspec.structs.replace(response, body=b"".join(pieces))
        return succeeded(job.run.id, whole, self._limit)

    async def _caught_up(self, job: Job) -> bool:
        """Waits for the reader of a stream; not for ever where other calls wait for its device."""
        patience_s = self._stall_s if job.handler.exclusive else None
        try:
            async with asyncio.timeout(patience_s):
                await job.window.wait()
        except TimeoutError:
            return False
        return True

    def _unread(self, id: int) -> Done:
        text = f"nobody read the stream for {self._stall_s:g} s"
        return Done(id, False, kind="timeout", message=text)

    async def _collected(self, job: Job, source: Any) -> Done:
        """A stream for a caller who did not ask for one: its items as a list."""
        values = []
        async with aclosing(_items(source)) as items:
            async for value in items:
                if job.cancellation.is_set():
                    return cancelled(job.run.id)
                values.append(value)
        return succeeded(job.run.id, values, self._limit)

    async def _batch(self, jobs: list[Job]) -> list[Done]:
        """Runs the requests together; when that fails, each alone, so that the one at fault
        fails alone."""
        results: dict[Job, Done] = {}
        requests: dict[Job, Request] = {}
        for job in jobs:
            try:
                requests[job] = request_of(job)
            except Exception as error:
                results[job] = failed(job.run.id, error)
        if requests:
            results.update(await self._together(requests))
        return [results[job] for job in jobs]

    async def _together(self, requests: dict[Job, Request]) -> dict[Job, Done]:
        jobs = list(requests)
        begun = self._clock()
        try:
            values = await self._call(jobs[0], list(requests.values()))
            _check_length(values, len(jobs))
            results = [self._result(job, value) for job, value in zip(jobs, values, strict=True)]
        except BaseException as error:
            if _is_ours(error):
                raise
            if len(jobs) == 1:
                results = [logged(failed(jobs[0].run.id, error))]
            else:
                return await self._apart(requests, self._clock() - begun)
        spent = self._clock() - begun
        return {
            job: _timed(done, spent, spent / len(jobs), len(jobs))
            for job, done in zip(jobs, results, strict=True)
        }

    async def _apart(self, requests: dict[Job, Request], lost_s: float) -> dict[Job, Done]:
        results: dict[Job, Done] = {}
        for job, request in requests.items():
            if job.cancellation.is_set():
                done = {job: cancelled(job.run.id)}
            else:
                done = await self._together({job: request})
            share = lost_s / len(requests)
            results[job] = _timed(done[job], done[job].exec_s + lost_s, done[job].gpu_s + share, 1)
        return results

    async def _call(self, job: Job, request: Any) -> Any:
        """The handler's result; a batch is of one model."""
        function = job.handler.function
        if job.model:
            value = function(self._context, request, self._models[job.model])
        else:
            value = function(self._context, request)
        return await value if inspect.isawaitable(value) else value

    def _result(self, job: Job, value: Any) -> Done:
        try:
            return logged(succeeded(job.run.id, value, self._limit))
        except Exception as error:
            return logged(failed(job.run.id, error))


def _is_ours(error: BaseException) -> bool:
    """The work was cancelled; not by its own code, which may raise CancelledError as well."""
    task = asyncio.current_task()
    asked = task is not None and task.cancelling() > 0
    return asked and isinstance(error, asyncio.CancelledError)


def _is_generator(value: Any) -> bool:
    return inspect.isgenerator(value) or inspect.isasyncgen(value)


async def _texts(source: Any) -> AsyncGenerator[str, None]:
    async with aclosing(_items(source)) as items:
        async for piece in items:
            yield piece if isinstance(piece, str) else bytes(piece).decode(errors="replace")


async def _items(source: Any) -> AsyncGenerator[Any, None]:
    """The items of a generator of either sort, which is closed at the end whatever happens."""
    plain = inspect.isgenerator(source)
    try:
        if plain:
            for value in source:
                yield value
                await asyncio.sleep(0)
        else:
            async for value in source:
                yield value
    finally:
        if plain:
            source.close()
        else:
            await source.aclose()


def _check_length(values: Any, wanted: int) -> None:
    if not isinstance(values, list | tuple) or len(values) != wanted:
        got = len(values) if isinstance(values, list | tuple) else type(values).__name__
        raise TypeError(f"a batch handler returns one result a request: {wanted}, got {got}")


def _timed(done: Done, exec_s: float, gpu_s: float, batch: int) -> Done:
    return msgspec.structs.replace(done, exec_s=exec_s, gpu_s=gpu_s, batch=batch)
