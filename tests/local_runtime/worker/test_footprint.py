"""What a worker occupies: read without waking the device, and sent to whoever is connected."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.facts import WorkerFacts
from local_runtime.client.managed import ManagedWorkers
from local_runtime.client.workers import Workers
from local_runtime.protocol.events import Memory
from local_runtime.server.metrics import AppMetrics
from local_runtime.worker.footprint import footprint, memory_of, resident
from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.local_runtime.worker.bench import READY, Bench
from tests.waiting import wait_until

MIB = 1024 * 1024


class FakeCuda:
    """Two GPUs, in the words of ``torch.cuda``."""

    def __init__(self, *, used: bool) -> None:
        self.used = used
        self.asked: list[int] = []

    def is_initialized(self) -> bool:
        return self.used

    def device_count(self) -> int:
        return 2

    def memory_stats(self, device: int) -> Mapping[str, int]:
        self.asked.append(device)
        return {
            "allocated_bytes.all.current": (device + 1) * 100,
            "allocated_bytes.all.peak": (device + 1) * 300,
            "reserved_bytes.all.current": (device + 1) * 1000,
        }


def test_the_devices_of_a_worker_are_added_up() -> None:
    memory = memory_of(FakeCuda(used=True), 5)
    assert memory == Memory(resident=5, device=True, allocated=300, reserved=3000, peak=900)


def test_a_device_that_the_app_does_not_use_is_not_woken() -> None:
    """To ask CUDA would make a context of hundreds of megabytes."""
    cuda = FakeCuda(used=False)
    assert memory_of(cuda, 5) == Memory(resident=5) == memory_of(None, 5)
    assert cuda.asked == []


def test_the_names_that_are_read_are_torchs_own() -> None:
    """Its allocator's table, which exists without a GPU; there all is 0."""
    import torch

    stats = torch.cuda.memory_stats.__doc__ or ""
    for name in ("allocated_bytes", "reserved_bytes", "peak", "current"):
        assert name in stats
    assert callable(torch.cuda.is_initialized)
    assert not footprint().device


def test_the_resident_memory_is_this_processs_own() -> None:
    """It grows by what is really written to, and is 0 where the system does not say."""
    before = resident()
    ballast = bytearray(b"x") * (64 * MIB)
    assert resident() > before + 48 * MIB
    del ballast
    assert resident(Path("/no/such/place")) == 0


async def test_every_peer_is_told_and_hears_only_of_changes() -> None:
    bench = Bench()
    bench.calls.peers.send_memory(Memory(resident=1))
    bench.calls.peers.send_memory(Memory(resident=1))
    bench.calls.peers.send_memory(Memory(resident=2))
    assert await bench.sent() == [READY, Memory(resident=1), Memory(resident=2)]


async def test_a_later_peer_is_told_at_once() -> None:
    bench = Bench()
    bench.calls.peers.send_memory(Memory(resident=7))
    late = bench.calls.accept()
    late.connection_made(bench.transport)
    assert (await bench.sent())[-1] == Memory(resident=7)


class OneWorker(Workers):
    """A worker that said what it occupies, without a process."""

    def __init__(self, memory: Memory | None) -> None:
        super().__init__("worker", ManagedWorkers([], FakeClock()), 1024, FakeClock())
        connection = WorkerConnection("worker-0", lambda _: None, 1024)
        connection.facts = WorkerFacts(memory=memory)
        self.connections = (connection,)


@pytest.mark.parametrize("memory", [None, Memory(), Memory(resident=5)])
async def test_without_a_gpu_there_is_no_figure_of_one(memory: Memory | None) -> None:
    text = AppMetrics(OneWorker(memory), lambda: 0).text().decode()
    assert "runtime_worker_device_memory_bytes{" not in text
    named = 'runtime_worker_resident_memory_bytes{worker="worker-0"} 5.0' in text
    assert named == bool(memory and memory.resident)


async def test_metrics_tell_what_torch_has_of_the_device() -> None:
    memory = Memory(resident=5, device=True, allocated=1, reserved=3, peak=2)
    text = AppMetrics(OneWorker(memory), lambda: 0).text().decode()
    for kind, size in (("allocated", 1), ("reserved", 3), ("peak", 2)):
        line = f'runtime_worker_device_memory_bytes{{kind="{kind}",worker="worker-0"}} {size}.0'
        assert line in text


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells it on Linux alone")
def test_a_real_worker_says_what_it_occupies() -> None:
    """Through the socket, the server and its metrics page."""
    with LiveRuntime("echo.py") as server, server.client as client:
        name = "runtime_worker_resident_memory_bytes{"
        wait_until(lambda: name in client.get("/metrics").text)
        lines = client.get("/metrics").text.splitlines()
        sizes = [float(line.split()[-1]) for line in lines if line.startswith(name)]
    assert len(sizes) == 1
    assert 5 * MIB < sizes[0] < 2000 * MIB
