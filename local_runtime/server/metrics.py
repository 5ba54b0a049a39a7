"""What the app's own server counts, in Prometheus' text format. Labels name routes of the app,
workers and outcomes, so their number is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from local_runtime.client.pending_call import Unanswered
from local_runtime.client.workers import Workers
from local_runtime.counters import Count, Counters, Histograms, Observations, Registry
from local_runtime.protocol.events import Done, ModelStatus

_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


_MODEL_GAUGES: tuple[tuple[str, str, Callable[[ModelStatus], float]], ...] = (
    ("resident_bytes", "Set aside for a loaded model.", lambda m: m.size * (m.state != "out")),
    ("loads", "Loads since its worker started.", lambda m: m.loads),
    ("evictions", "Times that it went for another.", lambda m: m.evictions),
    ("load_failures", "Loads that failed.", lambda m: m.failures),
    ("load_seconds", "What its last load took.", lambda m: m.load_s),
)


class AppMetrics:
    """Warm-up calls are not counted."""

    def __init__(self, workers: Workers, running: Callable[[], int]) -> None:
        self._registry = Registry()
        self._registry.register(_WorkerGauges(workers, running))
        self._calls = Counters(
            "runtime_calls",
            "Calls that ended, by outcome: ok, or why they failed.",
            ("route", "outcome"),
            self._registry,
        )
        self._batch = self._histograms("batch_size", "Calls in the run of each call.", _SIZES)
        self._queue = self._histograms("queue_seconds", "Until the handler began.", _SECONDS)
        self._exec = self._histograms("exec_seconds", "From the handler's start.", _SECONDS)
        self._served: dict[str, tuple[Count, Observations, Observations, Observations]] = {}

    def count(self, route: str, answer: Done | Unanswered) -> None:
        """One call of a route that the app has."""
        if isinstance(answer, Unanswered) or not answer.ok:
            self._calls.of((route, answer.kind or "failed")).value += 1
            return
        served = self._served.get(route)
        if served is None:
            served = self._served[route] = self._of(route)
        calls, batch, queue, run = served
        calls.value += 1
        batch.observe(answer.batch)
        queue.observe(answer.queue_s)
        run.observe(answer.exec_s)

    def _of(self, route: str) -> tuple[Count, Observations, Observations, Observations]:
        """Looked up once: to find four labels costs a call more than to count it."""
        batch, queue, run = (one.of((route,)) for one in (self._batch, self._queue, self._exec))
        return self._calls.of((route, "ok")), batch, queue, run

    def text(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return self._registry.text()

    def _histograms(self, name: str, text: str, bounds: tuple[float, ...]) -> Histograms:
        return Histograms(f"runtime_{name}", text, ("route",), bounds, self._registry)


class _WorkerGauges:
    """What is read at the scrape."""

    def __init__(self, workers: Workers, running: Callable[[], int]) -> None:
        self._workers = workers
        self._running = running

    def collect(self) -> Iterable[Metric]:
        workers = self._workers
        restarts = "Workers that ended unasked."
        yield CounterMetricFamily("runtime_worker_restarts", restarts, value=workers.deaths)
        ready = "Workers that are ready."
        yield GaugeMetricFamily("runtime_workers_ready", ready, value=len(workers.connections))
        running = "Calls under way, queued ones included."
        yield GaugeMetricFamily("runtime_calls_running", running, value=self._running())
        spares = "Spares that wait to take a worker's place."
        yield GaugeMetricFamily("runtime_spares_waiting", spares, value=workers.spares)
        yield self._starts()
        yield from self._memory()
        yield from self._models()

    def _starts(self) -> Metric:
        seconds = GaugeMetricFamily(
            "runtime_start_seconds",
            "What a worker's start took, by stage, and its first call after that.",
            labels=["worker", "stage"],
        )
        for worker in self._workers.connections:
            for stage, value in worker.facts.start_stages.items():
                seconds.add_metric([worker.name, stage], value)
            if worker.first_s is not None:
                seconds.add_metric([worker.name, "first_call"], worker.first_s)
        return seconds

    def _memory(self) -> Iterable[Metric]:
        resident = GaugeMetricFamily(
            "runtime_worker_resident_memory_bytes",
            "What a worker's process has in the machine's memory.",
            labels=["worker"],
        )
        device = GaugeMetricFamily(
            "runtime_worker_device_memory_bytes",
            "What torch has of the worker's GPUs: allocated by tensors, reserved from the driver, "
            "and the peak of what was allocated.",
            labels=["worker", "kind"],
        )
        for worker in self._workers.connections:
            memory = worker.facts.memory
            if memory is not None and memory.resident:
                resident.add_metric([worker.name], memory.resident)
            if memory is not None and memory.device:
                for kind in ("allocated", "reserved", "peak"):
                    device.add_metric([worker.name, kind], getattr(memory, kind))
        yield resident
        yield device

    def _models(self) -> Iterable[Metric]:
        for name, text, value in _MODEL_GAUGES:
            gauge = GaugeMetricFamily(f"runtime_model_{name}", text, labels=["worker", "model"])
            for worker in self._workers.connections:
                for model in worker.facts.cache.models if worker.facts.cache else ():
                    gauge.add_metric([worker.name, model.model], value(model))
            yield gauge

    def describe(self) -> Iterable[Metric]:
        return []
