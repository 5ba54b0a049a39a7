"""What is counted here is told as Prometheus' own client tells it."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as TheirCounter
from prometheus_client import Gauge as TheirGauge

from local_runtime.counters import Gauges, Registry, SeldomCounter

_WHEN = re.compile(r"(_created\S*) \S+")
"""Both say since when they count, each of its own."""


def told(text: bytes) -> str:
    return _WHEN.sub(r"\1", text.decode())


def test_a_seldom_count_is_told_as_by_the_library() -> None:
    ours, theirs = Registry(), CollectorRegistry()
    for made in (
        SeldomCounter("spills", "Of a gate", ("gate", "way"), registry=ours),
        TheirCounter("spills", "Of a gate", ("gate", "way"), registry=theirs),
    ):
        made.labels("north", "down").inc()
        made.labels("north", "down").inc(2)
        made.labels('so"uth\n', "up").inc(0.5)
    assert told(ours.text()) == told(generate_latest(theirs))


def test_a_count_without_labels_is_told_before_it_counts() -> None:
    ours, theirs = Registry(), CollectorRegistry()
    count = SeldomCounter("floods", "None is good", registry=ours)
    other = TheirCounter("floods", "None is good", registry=theirs)
    assert told(ours.text()) == told(generate_latest(theirs))
    count.inc()
    other.inc()
    assert told(ours.text()) == told(generate_latest(theirs))


def test_gauges_of_one_name_are_one_family() -> None:
    ours, theirs = Registry(), CollectorRegistry()
    text = "Of a lake"
    ours.register(Gauges(lambda: [("level", text, {"at": at}, 7.5) for at in ("dam", "inlet")]))
    gauge = TheirGauge("level", text, ("at",), registry=theirs)
    for at in ("dam", "inlet"):
        gauge.labels(at).set(7.5)
    assert told(ours.text()) == told(generate_latest(theirs))
