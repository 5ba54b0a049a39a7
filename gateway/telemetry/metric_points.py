"""What ``/metrics`` shows, as OpenTelemetry's metrics of the same names and labels.

Source: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as OtelMetric
from prometheus_client import Metric
from prometheus_client.samples import Sample

_CUMULATIVE = AggregationTemporality.CUMULATIVE


def points_of(families: Iterable[Metric], began_ns: int, now_ns: int) -> list[OtelMetric]:
    """Of one scrape: ``began_ns`` is when the counting began, both in nanoseconds since the
    epoch."""
    return [
        OtelMetric(family.name, family.documentation, family.unit, data)
        for family in families
        if family.samples and (data := _data(family, began_ns, now_ns)) is not None
    ]


def _data(family: Metric, began_ns: int, now_ns: int) -> Sum | Gauge | Histogram | None:
    if family.type == "histogram":
        return Histogram(list(_histograms(family.samples, began_ns, now_ns)), _CUMULATIVE)
    points = [
        NumberDataPoint(dict(one.labels), began_ns, now_ns, one.value)
        for one in family.samples
        if not one.name.endswith("_created")
    ]
    if family.type == "counter":
        return Sum(points, _CUMULATIVE, is_monotonic=True)
    return Gauge(points) if family.type == "gauge" and points else None


def _histograms(
    samples: Iterable[Sample], began_ns: int, now_ns: int
) -> Iterator[HistogramDataPoint]:
    """Prometheus' buckets hold all that is at most their bound, OpenTelemetry's what is in none
    before."""
    found: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    for one in samples:
        labels = tuple((name, value) for name, value in one.labels.items() if name != "le")
        place = one.labels.get("le") or one.name.rpartition("_")[2]
        found.setdefault(labels, {})[place] = one.value
    for labels, values in found.items():
        total = values.pop("sum", 0.0)
        count = int(values.pop("count", values.get("+Inf", 0.0)))
        values.pop("created", None)
        bounds = [float(bound) for bound in values if bound != "+Inf"]
        upto = [*values.values()]
        counts = [int(more - less) for less, more in zip([0.0, *upto], upto, strict=False)]
        yield HistogramDataPoint(
            dict(labels), began_ns, now_ns, count, total, counts, bounds, 0.0, 0.0
        )
