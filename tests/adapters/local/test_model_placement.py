"""Which worker gets a call of a model, and what a load is foreseen to take: no process runs."""

from __future__ import annotations

from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from adapters.types import ModelMemory
from gateway.clock import FakeClock
from gateway.metrics import Metrics
from gateway.readings import stock
from local_runtime.client.connection import WorkerConnection
from local_runtime.protocol.events import CacheStatus, ModelStatus


class TwoWorkers(Local):
    """Two workers without processes."""

    def __init__(self, *stocks: CacheStatus) -> None:
        self.clock = FakeClock()
        super().__init__("home", LocalSettings(app="none.py:app"), self.clock)
        self.open = [self._connection(f"home-{index}") for index in range(len(stocks))]
        self._workers.connections = tuple(self.open)
        for index, told in enumerate(stocks):
            self.tell(index, told)

    def _connection(self, name: str) -> WorkerConnection:
        connection = WorkerConnection(
            name, lambda _: None, 1024, self.clock.monotonic, self._workers.times
        )
        connection.slots = 1
        return connection

    def tell(self, index: int, stock: CacheStatus) -> None:
        self.open[index]._receive(stock)

    def send(self, index: int, model: str) -> None:
        self.open[index].run("id", "/", b"", False, 0.0, model)

    def picked(self, model: str) -> str:
        connection = self._workers.least_loaded(model)
        assert connection is not None
        return connection.name


async def test_a_worker_with_memory_goes_before_one_that_must_evict() -> None:
    full = CacheStatus((ModelStatus("a", "in", 4), ModelStatus("b", "out", 4)), 4)
    empty = CacheStatus((ModelStatus("a", "out", 4), ModelStatus("b", "out", 4)), 4)
    backend = TwoWorkers(full, empty)
    assert [backend.picked(name) for name in ("a", "b")] == ["home-0", "home-1"]


async def test_a_line_before_the_worker_with_the_model_brings_it_to_another() -> None:
    backend = TwoWorkers(
        CacheStatus((ModelStatus("a", "in", 4),), 4), CacheStatus((ModelStatus("a", "out", 4),), 4)
    )
    ways = []
    for number in range(7):
        ways.append(backend.picked("a"))
        worker = next(one for one in backend._workers.connections if one.name == ways[-1])
        worker.run(str(number), "/", b"", False, 0.0, "a")
    assert ways[:4] == ["home-0"] * 4
    assert "home-1" in ways[4:]


async def test_a_worker_that_has_the_model_goes_before_one_that_loads_it() -> None:
    """Until two calls for each of its slots wait there that do not at the other."""
    backend = TwoWorkers(
        CacheStatus((ModelStatus("a", "loading", 4),), 4),
        CacheStatus((ModelStatus("a", "in", 4),), 4),
    )
    ways = []
    for _ in range(4):
        ways.append(backend.picked("a"))
        backend.send(1, "a")
    assert ways == ["home-1", "home-1", "home-0", "home-0"]


async def test_a_worker_that_could_not_load_the_model_is_asked_last() -> None:
    backend = TwoWorkers(
        CacheStatus((ModelStatus("a", "out", 4),), 4), CacheStatus((ModelStatus("a", "out", 4),), 2)
    )
    assert backend.picked("a") == "home-0"
    backend.tell(0, CacheStatus((ModelStatus("a", "out", 4, failures=1, pause_s=2.0),), 4))
    assert backend.picked("a") == "home-1"
    assert backend.load_in("a") is not None
    backend.clock.move(2.0)
    assert backend.picked("a") == "home-0"


async def test_a_load_is_foreseen_at_the_worker_that_would_get_the_call() -> None:
    """By what it took at another."""
    backend = TwoWorkers(
        CacheStatus(
            (ModelStatus("a", "in", 4, loads=1, load_s=6.0), ModelStatus("b", "out", 4)), 4
        ),
        CacheStatus(
            (ModelStatus("a", "out", 4), ModelStatus("b", "in", 4, loads=1, load_s=3.0)), 4
        ),
    )
    assert [backend.load_in(name) for name in ("a", "b", "other")] == [0.0, 0.0, 0.0]
    for _ in range(10):
        backend.send(0, "a")
    assert backend.load_in("a") == 6.0


async def test_while_no_worker_is_ready_a_load_is_foreseen_that_follows_the_start() -> None:
    """Except of a model that is loaded as part of the start."""
    models = (
        ModelStatus("a", "in", 4, loads=1, load_s=6.0),
        ModelStatus("p", "in", 4, pinned=True),
    )
    backend = TwoWorkers(CacheStatus(models, 8))
    backend._workers.connections = ()
    assert [backend.load_in(name) for name in ("a", "p", "other")] == [6.0, 0.0, 0.0]


async def test_an_app_without_models_foresees_no_load() -> None:
    backend = TwoWorkers()
    backend._workers.connections = (backend._connection("home-0"),)
    assert backend.load_in("a") == 0.0


def test_the_gauges_of_a_model_bear_backend_worker_and_model() -> None:
    metrics = Metrics()
    models = {"a": ModelMemory(resident=5, loads=2, evictions=1, load_s=0.5)}
    metrics.observe(lambda: stock({"backend": "home", "worker": "home-0"}, models))
    text = metrics.render().decode()
    labels = '{backend="home",model="a",worker="home-0"}'
    for what, value in (
        ("resident_bytes", 5),
        ("loads", 2),
        ("evictions", 1),
        ("load_seconds", 0.5),
    ):
        assert f"spillgate_model_{what}{labels} {float(value)}" in text
