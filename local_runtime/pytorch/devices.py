"""Which device a model is loaded on, and what that device can do for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch

Tensors = tuple[torch.Tensor, ...]
Function = Callable[[], Tensors]


# --- the choice ---------------------------------------------------------------------------------


def choose(wanted: str, *, cuda: int, mps: bool) -> str:
    """The name of a device that is there, pure: of ``auto`` the first of cuda, mps and cpu.

    ``cuda`` is the number of GPUs that this process sees, which ``CUDA_VISIBLE_DEVICES`` decides
    before torch counts them. Raises ValueError for a device that is not there: a model that
    quietly ran on the CPU would only be found out by its bill.
    """
    if wanted == "auto":
        return "cuda:0" if cuda else "mps" if mps else "cpu"
    kind, _, index = wanted.partition(":")
    if index and not index.isdecimal():
        raise ValueError(f"{wanted!r} is no device: auto, cpu, mps, cuda or cuda:0")
    if kind == "cuda" and int(index or 0) < cuda:
        return f"cuda:{int(index or 0)}"
    if kind == "cpu" or (kind == "mps" and mps):
        return kind
    there = [*(f"cuda:{n}" for n in range(cuda)), *(["mps"] if mps else []), "cpu"]
    raise ValueError(f"{wanted!r} is not among the devices of this process: {', '.join(there)}")


def device_of(wanted: str | None = None, environ: Mapping[str, str] = os.environ) -> torch.device:
    """The device by its name, else by ``SPILLGATE_DEVICE``, which the runtime sets for each
    worker, else the best there is. Raises ValueError as ``choose`` does."""
    name = wanted or environ.get("SPILLGATE_DEVICE") or "auto"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return torch.device(choose(name, cuda=count, mps=torch.backends.mps.is_available()))


# --- what it can do -----------------------------------------------------------------------------


class Recording(Protocol):
    """Work that was recorded once. Its ``outputs`` stay where they are in memory."""

    outputs: Tensors

    def replay(self) -> None:
        """Does the work again over the inputs as they are now, into the same outputs."""
        ...


class Device(Protocol):
    """A device, as the serving of a model needs it."""

    torch_device: torch.device
    apart: bool
    """It has memory of its own, so inputs and outputs are copied."""

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Host memory from which the device copies without the CPU's help, where there is such."""
        ...

    def record(self, function: Function) -> Recording:
        """Runs ``function`` and records it. It must read and write the same memory each time."""
        ...

    def finish(self) -> None:
        """Returns when everything asked of the device so far is done."""
        ...


class Rerun:
    """A recording that runs its function again: what a CUDA graph is on every other device."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.outputs = tuple(output.clone() for output in function())

    def replay(self) -> None:
        for kept, output in zip(self.outputs, self._function(), strict=True):
            kept.copy_(output)


class PlainDevice:
    """A CPU, or a GPU without graphs (mps)."""

    def __init__(self, device: torch.device) -> None:
        self.torch_device = device
        self.apart = device.type != "cpu"

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype)

    def record(self, function: Function) -> Recording:
        return Rerun(function)

    def finish(self) -> None:
        if self.torch_device.type == "mps":
            torch.mps.synchronize()


class Graph:
    """A CUDA graph: all kernels of a pass in one launch
    (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs)."""

    WARM_RUNS = 3
    """Before the capture, so that libraries make their workspaces outside of it; the number of
    torch's own ``make_graphed_callables``."""

    def __init__(self, function: Function, pool: Any) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(self.WARM_RUNS):
                function()
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads of the process may use CUDA meanwhile: only this one is recorded.
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self.outputs = function()

    def replay(self) -> None:
        self._graph.replay()


class CudaDevice:
    """An NVIDIA GPU (or one of AMD under ROCm, which torch calls by the same name). All graphs
    share one pool of memory, which is right because none runs while another's output is used."""

    def __init__(self, device: torch.device) -> None:
        self.torch_device = device
        self.apart = True
        self._pool = torch.cuda.graph_pool_handle()

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def record(self, function: Function) -> Recording:
        with torch.cuda.device(self.torch_device):
            return Graph(function, self._pool)

    def finish(self) -> None:
        torch.cuda.current_stream(self.torch_device).synchronize()


def device_for(device: torch.device | Device | None) -> Device:
    """What a device of torch can do; one that says so itself is left as it is. None: of the device
    that ``device_of()`` names. Raises ValueError as that does."""
    if device is None:
        device = device_of()
    if not isinstance(device, torch.device):
        return device
    return CudaDevice(device) if device.type == "cuda" else PlainDevice(device)
