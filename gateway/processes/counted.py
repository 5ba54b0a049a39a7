"""What processes count, and how one scrape tells it of all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Literal

import msgspec
from prometheus_client import Metric
from prometheus_client.samples import Sample

from gateway.metrics import Registry

How = Literal["sum", "most", "least", "each"]

GAUGES: dict[str, How] = {
    "spillgate_in_flight": "sum",
    "spillgate_settlements_waiting": "sum",
    "spillgate_access_log_dropped": "sum",
    "spillgate_log_lines_dropped": "sum",
    "spillgate_connections_refused": "sum",
    "spillgate_shared_store_outage_calls": "sum",
    "spillgate_backend_ready": "least",
    "spillgate_leads": "each",
    "spillgate_descriptors": "each",
    "spillgate_descriptor_limit": "each",
}
"""How a gauge is told of several processes; of all others it is the most that one of them says,
for they look at the same thing."""

_Labels = tuple[tuple[str, str], ...]


_Values = dict[tuple[str, _Labels], Fraction]


class Family(msgspec.Struct, frozen=True):
    """The samples of one metric."""

    name: str
    text: str
    kind: str
    samples: tuple[tuple[str, _Labels, float], ...]
    """(name, labels, value); several of the same name and labels add up."""


_decode = msgspec.msgpack.Decoder(tuple[Family, ...]).decode


def counted(registry: Registry) -> bytes:
    """All that one process counts at this instant."""
    return msgspec.msgpack.encode(tuple(_family(metric) for metric in registry.collect()))


def without_gauges(reports: Iterable[bytes]) -> bytes:
    """The sum of what processes counted that are gone: a counter never falls."""
    merged = _merged((0, report) for report in reports)
    kept = [
        msgspec.structs.replace(family, samples=tuple(_exact(values)))
        for family, values in merged
        if family.kind != "gauge"
    ]
    return msgspec.msgpack.encode(kept)


def rendered(reports: Iterable[tuple[int, bytes]]) -> bytes:
    """Prometheus' text of what processes count, each known by its number."""
    registry = Registry()
    families = [
        msgspec.structs.replace(
            family, samples=tuple((*key, float(value)) for key, value in values.items())
        )
        for family, values in _merged(reports)
    ]
    registry.register(_Told(families))
    return registry.text()


def _family(metric: Metric) -> Family:
    samples = tuple((one.name, tuple(one.labels.items()), one.value) for one in metric.samples)
    return Family(metric.name, metric.documentation, metric.type, samples)


def _merged(reports: Iterable[tuple[int, bytes]]) -> Iterator[tuple[Family, _Values]]:
    """Each family with the values of all. They are added up exactly: by floats, a sum would depend
    on who has ended, and a counter that falls by one bit is taken for one that began anew."""
    found: dict[str, tuple[Family, _Values]] = {}
    for number, report in reports:
        for family in _decode(report):
            _, values = found.setdefault(family.name, (family, {}))
            _add(values, family, number)
    yield from found.values()


def _exact(values: _Values) -> Iterator[tuple[str, _Labels, float]]:
    """Samples that add up to the values to the last bit."""
    for key, value in values.items():
        rounded, left = float(value), value
        yield (*key, rounded)
        while left := left - Fraction(rounded):
            rounded = float(left)
            yield (*key, rounded)


def _add(values: _Values, family: Family, number: int) -> None:
    for name, labels, value in family.samples:
        how = _how(family, name)
        own = (*labels, ("process", str(number))) if how == "each" else labels
        known = values.get((name, own))
        exact = Fraction(value)
        values[name, own] = exact if known is None else _both(how, known, exact)


def _how(family: Family, sample: str) -> How:
    if family.kind == "gauge":
        return GAUGES.get(family.name, "most")
    return "least" if sample.endswith("_created") else "sum"


def _both(how: How, one: Fraction, other: Fraction) -> Fraction:
    if how == "sum":
        return one + other
    return min(one, other) if how == "least" else max(one, other)


class _Told:
    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.text, family.kind)
            metric.samples = [
                Sample(name, dict(labels), value) for name, labels, value in family.samples
            ]
            yield metric
