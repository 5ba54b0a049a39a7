"""Batches of growing size through one model, in each way of running it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import msgspec
import torch

from benchmarks.gpu.models import Case
from local_runtime.pytorch import Buckets, Served

Mode = Literal["eager", "compiled", "graphs", "compiled+graphs"]
MODES: tuple[Mode, ...] = get_args(Mode)
WARM = 3
MOST = 2000
"""Calls of one measurement at most."""


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    seconds: float = 1.0
    """Of one measurement, its warm-up not counted."""
    starts: int = 3
    calls: int = 300


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One batch size in one mode; milliseconds of a call, host to host."""

    model: str
    mode: Mode
    batch: int
    ms: float
    p90_ms: float
    rows_per_s: float
    ready_s: float
    """What the shape took to be ready: compilation and capture."""
    peak_mib: float | None = None
    """Of the device's memory, since the process started."""


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    points: tuple[Point, ...]
    trouble: tuple[str, ...] = ()
    """What failed, and how: a model that a graph cannot hold, memory that is not there."""


class NeedsCuda(ValueError):
    """What was asked for runs on an NVIDIA GPU alone."""


def check_modes(modes: Sequence[Mode], device: torch.device) -> None:
    """Raises NeedsCuda."""
    graphs = [mode for mode in modes if "graphs" in mode]
    if graphs and device.type != "cuda":
        raise NeedsCuda(f"{', '.join(graphs)}: CUDA graphs need CUDA, and this is {device}")


def usual_modes(device: torch.device) -> tuple[Mode, ...]:
    return MODES if device.type == "cuda" else ("eager", "compiled")


def sweep(
    case: Case,
    device: torch.device,
    modes: Sequence[Mode],
    effort: Effort,
    say: Callable[[str], None],
) -> Swept:
    """Every batch size in every mode, the modes in turns. Raises NeedsCuda."""
    check_modes(modes, device)
    points, trouble = [], []
    for batch in effort.batches:
        for mode in modes:
            what = f"{case.name}, {mode}, batch {batch}"
            try:
                points.append(_point(case, device, mode, batch, effort.seconds))
                say(f"{what}: {points[-1].ms:.2f} ms")
            except RuntimeError as error:  # torch's own, out of memory included
                trouble.append(f"{what} failed: {str(error).strip().splitlines()[0]}")
                say(trouble[-1])
    return Swept(points=tuple(points), trouble=tuple(trouble))


def _point(case: Case, device: torch.device, mode: Mode, batch: int, seconds: float) -> Point:
    inputs = case.inputs(batch)
    served = Served(
        case.forward(batch),
        device=device,
        buckets=None if mode == "eager" else Buckets(rows=(batch,)),
        graphs="graphs" in mode,
        compiled="compiled" in mode,
    )
    begun = time.perf_counter()
    served.warm_up(*inputs)
    ready = time.perf_counter() - begun
    spent = timed(lambda: served(*inputs), seconds)
    median = statistics.median(spent)
    return Point(
        model=case.name,
        mode=mode,
        batch=batch,
        ms=median * 1e3,
        p90_ms=sorted(spent)[len(spent) * 9 // 10] * 1e3,
        rows_per_s=batch / median,
        ready_s=ready,
        peak_mib=peak_mib(device),
    )


def timed(call: Callable[[], object], seconds: float, most: int = MOST) -> list[float]:
    """Seconds of each call, at least one, for about so long."""
    for _ in range(WARM):
        call()
    spent: list[float] = []
    end = time.perf_counter() + seconds
    while not spent or (len(spent) < most and time.perf_counter() < end):
        begun = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begun)
    return spent


def peak_mib(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    return float(torch.cuda.max_memory_allocated(device)) / 2**20
