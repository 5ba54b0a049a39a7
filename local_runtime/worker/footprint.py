"""What a worker's process occupies: memory of its devices as torch counts it, and of the machine.

Reads torch only where the app has imported it, and CUDA only once the app has begun to use it:
to look would otherwise take some hundred megabytes of the device itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from local_runtime.protocol.events import Memory

_STATM = Path("/proc/self/statm")


class CudaMemory(Protocol):
    """What is asked of ``torch.cuda``
    (https://docs.pytorch.org/docs/stable/generated/torch.cuda.memory.memory_stats.html)."""

    def is_initialized(self) -> bool:
        """The app has begun to use CUDA."""
        ...

    def device_count(self) -> int:
        """The devices that the process sees."""
        ...

    def memory_stats(self, device: int) -> Mapping[str, int]:
        """Bytes on one device, by what they are."""
        ...


def footprint() -> Memory:
    """Of this process, now."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)  # None too while another thread imports torch
    return memory_of(cast("CudaMemory | None", cuda), resident())


def memory_of(cuda: CudaMemory | None, resident_bytes: int) -> Memory:
    """Devices together: an app may spread its model over several."""
    if cuda is None or not cuda.is_initialized():
        return Memory(resident=resident_bytes)
    stats = [cuda.memory_stats(index) for index in range(cuda.device_count())]
    return Memory(
        resident=resident_bytes,
        device=True,
        allocated=_total(stats, "allocated_bytes.all.current"),
        reserved=_total(stats, "reserved_bytes.all.current"),
        peak=_total(stats, "allocated_bytes.all.peak"),
    )


def _total(stats: Sequence[Mapping[str, int]], name: str) -> int:
    return sum(each.get(name, 0) for each in stats)


def resident(statm: Path = _STATM) -> int:
    """Bytes of this process in the machine's memory; 0 where the system does not say (it is no
    Linux). Pages of a mapped file count while they are there, shared or not."""
    try:
        pages = int(statm.read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
