"""Counters and histograms of one event loop, read by Prometheus' client at the scrape.

Nothing is locked and no bucket is looked at twice, which is most of what the client library's own
cost a short call. The gateway counts with them too.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


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


class Counters(Collector):
    """A counter a label set, for what every call counts."""

    def __init__(
        self, name: str, help_text: str, labels: tuple[str, ...], registry: CollectorRegistry
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
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for values, child in self._children.items():
            family.add_metric(values, child.value)
        yield family


class Histograms(Collector):
    """A histogram a label set. The client library's own looks through every bucket for every
    value, which is the dearest thing that a short call would do for its metrics."""

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: tuple[str, ...],
        bounds: tuple[float, ...],
        registry: CollectorRegistry,
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
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for values, child in self._children.items():
            family.add_metric(values, list(child.cumulative()), child.sum)
        yield family
