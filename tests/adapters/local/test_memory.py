"""What the workers of ``kind: local`` occupy, as the gateway's metrics show it."""

from __future__ import annotations

from adapters.base import ReportsMemory
from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from adapters.types import WorkerMemory
from gateway.clock import FakeClock
from gateway.metrics import Metrics
from gateway.readings import weights
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.facts import WorkerFacts
from local_runtime.protocol.events import Memory
from tests.adapters.local.backends import running
from tests.waiting import until


async def test_each_warm_worker_says_what_it_occupies() -> None:
    """Through its own socket, within its first heartbeats; on a CPU there is no device."""
    async with running("echo.py", workers=2) as backend:
        assert isinstance(backend, ReportsMemory)
        await until(lambda: len(backend.memory()) == 2)
        for memory in backend.memory().values():
            assert 5e6 < (memory.resident or 0) < 2e9
            assert memory.device_allocated is None
    assert backend.memory() == {}


class OneConnection(Local):
    """A backend whose worker uses a GPU, without a process."""

    def __init__(self, memory: Memory) -> None:
        super().__init__("home", LocalSettings(app="none.py:app"), FakeClock())
        connection = WorkerConnection("home-0", lambda _: None, 1024)
        connection.facts = WorkerFacts(memory=memory)
        self._workers.connections = (connection,)


async def test_the_gauges_of_a_gpu_bear_backend_worker_and_kind() -> None:
    told = Memory(resident=5, device=True, allocated=1, reserved=3, peak=2)
    memory = OneConnection(told).memory()["home-0"]
    metrics = Metrics()
    metrics.observe(lambda: weights({"backend": "home", "worker": "home-0"}, memory))
    text = metrics.render().decode()
    for kind, size in (("allocated", 1), ("reserved", 3), ("peak", 2)):
        name = "spillgate_worker_device_memory_bytes"
        assert f'{name}{{backend="home",kind="{kind}",worker="home-0"}} {size}.0' in text
    assert 'spillgate_worker_resident_memory_bytes{backend="home",worker="home-0"} 5.0' in text


def test_what_is_not_told_has_no_gauge() -> None:
    """Neither a GPU that is not used, nor a size that the system does not tell."""
    assert list(weights({"backend": "home"}, WorkerMemory())) == []
    assert len(list(weights({"backend": "home"}, WorkerMemory(resident=5)))) == 1
