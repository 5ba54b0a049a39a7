"""What the runtime and its socket add to a model: the same handler called by itself, and through
a worker of ``kind: local``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from adapters.types import Call
from benchmarks.apps import encoder
from benchmarks.gpu.models import SizeName
from benchmarks.gpu.sweep import WARM, Effort, timed
from gateway.clock import SystemClock
from local_runtime import Request

APP = Path(encoder.__file__)
READY_S = 300.0


class Overhead(msgspec.Struct, frozen=True, kw_only=True):
    """Of the bare handler and of the whole way; milliseconds of a lone call."""

    bare_ms: float
    through_ms: float
    bare_rows_per_s: float
    """In batches of ``callers``, one after another."""
    through_rows_per_s: float
    """By so many callers at once, whose calls the runtime puts together."""
    callers: int = encoder.BATCH

    @property
    def added_ms(self) -> float:
        return self.through_ms - self.bare_ms


class NotReady(Exception):
    """The worker did not start."""


async def overhead(size: SizeName, device: torch.device, effort: Effort) -> Overhead:
    """Raises NotReady."""
    with _environment(SPILLGATE_BENCH_SIZE=size, SPILLGATE_DEVICE=str(device)):
        lone, full = _by_itself(effort.seconds)
        async with _worker(device) as backend:
            return Overhead(
                bare_ms=lone * 1e3,
                through_ms=statistics.median(await _alone(backend, effort.calls)) * 1e3,
                bare_rows_per_s=encoder.BATCH / full,
                through_rows_per_s=await _together(backend, effort.calls),
            )


def _by_itself(seconds: float) -> tuple[float, float]:
    """Seconds of a lone call and of a full batch. The model is gone afterwards."""
    context = encoder.init()
    spent = [timed(partial(_bare, context, rows), seconds) for rows in (1, encoder.BATCH)]
    return statistics.median(spent[0]), statistics.median(spent[1])


def _bare(context: dict[str, Any], rows: int) -> None:
    encoder.vectors(context, [Request(json=encoder.WARMUP)] * rows)


async def _alone(backend: Local, calls: int) -> list[float]:
    """Seconds of each call, one after another."""
    spent = []
    for number in range(calls + WARM):
        begun = time.perf_counter()
        await backend.invoke(_call(number))
        spent.append(time.perf_counter() - begun)
    return spent[WARM:]


async def _together(backend: Local, calls: int) -> float:
    """Calls a second by ``encoder.BATCH`` callers, each with its share of 8 times as many calls."""

    async def caller(first: int) -> None:
        for number in range(first, 8 * calls, encoder.BATCH):
            await backend.invoke(_call(number))

    begun = time.perf_counter()
    await asyncio.gather(*(caller(first) for first in range(encoder.BATCH)))
    return 8 * calls / (time.perf_counter() - begun)


def _call(number: int) -> Call:
    body = msgspec.json.encode(encoder.WARMUP)
    return Call(id=f"bench-{number}", model="encoder", task="infer", body=body)


@contextlib.asynccontextmanager
async def _worker(device: torch.device) -> AsyncIterator[Local]:
    settings = LocalSettings(
        app=f"{APP}:app",
        device=str(device),
        start_timeout=READY_S,
        threads=torch.get_num_threads(),
    )
    clock = SystemClock()
    backend = Local("bench", settings, clock)
    await backend.start()
    try:
        end = clock.monotonic() + READY_S
        while not backend.slots:
            probe = await backend.probe()
            if clock.monotonic() > end or "not started again" in probe.detail:
                raise NotReady(probe.detail)
            await clock.sleep(0.05)
        yield backend
    finally:
        await backend.aclose()


@contextlib.contextmanager
def _environment(**changes: str) -> Iterator[None]:
    """What the worker's process inherits."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
