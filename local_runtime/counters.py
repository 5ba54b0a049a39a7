"""Counters and histograms of one event loop, read by Prometheus' client at the scrape.

Nothing is locked and no bucket is looked at twice, which is most of what the client library's own
cost a short call. The gateway counts with them too. The library itself, with the servers and
clients that it brings, is loaded by the first scrape: a start does not wait for it.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import GaugeMetricFamily, Metric


class Collector(Protocol):
    """What knows some figures."""

    def collect(self) -> Iterable[Metric]:
        """They, as of now."""
        ...


class Registry:
    """All that is counted in one place, in the order in which it was begun."""

    def __init__(self) -> None:
        self._collectors: list[Collector] = []

    def register(self, collector: Collector) -> None:
        """It is asked from now on."""
        self._collectors.append(collector)

    def collect(self) -> Iterator[Metric]:
        """All figures, as of now."""
        for collector in self._collectors:
            yield from collector.collect()

    def text(self) -> bytes:
        """The same as Prometheus reads them."""
        from prometheus_client import generate_latest

        return generate_latest(cast("CollectorRegistry", self))


class Observations:
    """One histogram: how many values fell into each bucket, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect.bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> Iterable[tuple[str, float]]:
        """(upper bound, how many values were at most that), ascending, to ``+Inf``."""
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self.counts, strict=True):
            total += count
            yield ("+Inf" if bound == float("inf") else str(bound)), total


class Count:
    """One counter of one event loop: no lock, which is most of what a count would cost."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class SeldomCount:
    """One counter, and since when it counts."""

    __slots__ = ("created", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.created = time.time()

    def inc(self, amount: float = 1.0) -> None:
        """Counts that much."""
        self.value += amount


class SeldomCounter:
    """A counter a label set, for what happens seldom; without labels one, from the start."""

    def __init__(
        self, name: str, help_text: str, labels: tuple[str, ...] = (), *, registry: Registry
    ) -> None:
        self._name, self._help, self._labels = name, help_text, labels
        self._children: dict[tuple[str, ...], SeldomCount] = {}
        if not labels:
            self.labels()
        registry.register(self)

    def labels(self, *values: str) -> SeldomCount:
        """The count of these label values, made when it is first asked for."""
        found = self._children.get(values)
        if found is None:
            found = self._children[values] = SeldomCount()
        return found

    def inc(self, amount: float = 1.0) -> None:
        """Counts that much, where there are no labels."""
        self._children[()].inc(amount)

    def collect(self) -> Iterable[Metric]:
        """What Prometheus' client asks for at the scrape."""
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for values, child in self._children.items():
            family.add_metric(values, child.value, created=child.created)
        yield family


class Gauges:
    """(name, help, labels, value) of each, read at the scrape."""

    def __init__(
        self, readings: Callable[[], Iterable[tuple[str, str, dict[str, str], float]]]
    ) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        """What Prometheus' client asks for at the scrape."""
        from prometheus_client.core import GaugeMetricFamily

        families: dict[str, GaugeMetricFamily] = {}
        for name, help_text, labels, value in self._readings():
            family = families.get(name)
            if family is None:
                family = families[name] = GaugeMetricFamily(name, help_text, labels=list(labels))
            family.add_metric(list(labels.values()), value)
        return families.values()


class Counters:
    """A counter a label set, for what every call counts."""

    def __init__(
        self, name: str, help_text: str, labels: tuple[str, ...], registry: Registry
    ) -> None:
        self._name, self._help, self._labels = name, help_text, labels
        self._children: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def of(self, values: tuple[str, ...]) -> Count:
        """The count of these label values, made when it is first asked for."""
        found = self._children.get(values)
        if found is None:
            found = self._children[values] = Count()
        return found

    def collect(self) -> Iterable[Metric]:
        """What Prometheus' client asks for at the scrape."""
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for values, child in self._children.items():
            family.add_metric(values, child.value)
        yield family


class Histograms:
    """A histogram a label set. The client library's own looks through every bucket for every
    value, which is the dearest thing that a short call would do for its metrics."""

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: tuple[str, ...],
        bounds: tuple[float, ...],
        registry: Registry,
    ) -> None:
        self._name, self._help, self._labels, self._bounds = name, help_text, labels, bounds
        self._children: dict[tuple[str, ...], Observations] = {}
        registry.register(self)

    def of(self, values: tuple[str, ...]) -> Observations:
        """The histogram of these label values, made when it is first asked for."""
        found = self._children.get(values)
        if found is None:
            found = self._children[values] = Observations(self._bounds)
        return found

    def collect(self) -> Iterable[Metric]:
        """What Prometheus' client asks for at the scrape."""
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for values, child in self._children.items():
            family.add_metric(values, list(child.cumulative()), child.sum)
        yield family
