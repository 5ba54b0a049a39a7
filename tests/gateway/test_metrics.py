"""What a scrape tells, read by the parser of Prometheus' own client."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Metrics


def scraped(metrics: Metrics) -> dict[str, Metric]:
    text = metrics.render().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def histogram(metrics: Metrics, name: str, **labels: str) -> dict[str, float]:
    """Bound -> how many values are not above it, with ``sum`` and ``count``."""
    found = {}
    for sample in scraped(metrics)[name].samples:
        rest = dict(sample.labels)
        bound = rest.pop("le", None)
        if rest == labels:
            found[bound or sample.name.removeprefix(f"{name}_")] = sample.value
    return found


def test_a_call_that_ended_is_counted_by_model_backend_and_outcome() -> None:
    metrics = Metrics()
    pair = metrics.pairs["minilm", "home"]
    pair.ended["success"].value += 1
    pair.ended["success"].value += 1
    pair.ended["error"].value += 1
    samples = scraped(metrics)["spillgate_calls"].samples
    counted = {s.labels["outcome"]: s.value for s in samples if s.name.endswith("_total")}
    assert counted == {"success": 2.0, "error": 1.0}


@pytest.mark.parametrize(
    ("value", "below", "at"), [(0.001, 1.0, "0.001"), (0.0011, 0.0, "0.001"), (300.1, 0.0, "300.0")]
)
def test_a_value_on_a_bound_belongs_to_its_bucket(value: float, below: float, at: str) -> None:
    """As Prometheus has it: ``le`` means less or equal."""
    metrics = Metrics()
    metrics.pairs["m", "b"].seconds.observe(value)
    found = histogram(metrics, "spillgate_call_seconds", model="m", backend="b")
    assert found[at] == below
    assert found["+Inf"] == found["count"] == 1.0
    assert found["sum"] == value


@given(values=st.lists(st.floats(min_value=0, max_value=1000), max_size=50))
def test_buckets_only_rise_and_the_last_holds_everything(values: list[float]) -> None:
    metrics = Metrics()
    pair = metrics.pairs["m", "b"]
    for value in values:
        pair.seconds.observe(value)
    found = histogram(metrics, "spillgate_call_seconds", model="m", backend="b")
    assert math.isclose(found.pop("sum"), sum(values), abs_tol=1e-6)
    assert found.pop("count") == len(values)
    bounds = sorted(found, key=float)
    assert [found[bound] for bound in bounds] == [
        sum(value <= float(bound) for value in values) for bound in bounds
    ]


def test_every_family_has_a_help_and_a_type_and_stands_once() -> None:
    metrics = Metrics()
    metrics.pairs["m", "b"].ended["success"].value += 1
    metrics.refused.labels("rate_limited").inc()
    text = metrics.render().decode()
    helped = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    typed = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert helped == typed
    assert len(set(helped)) == len(helped)
    assert all(family.documentation for family in scraped(metrics).values())


def test_gauges_of_one_name_are_one_family_however_many_backends_there_are() -> None:
    metrics = Metrics()
    metrics.observe(
        lambda: [
            ("spillgate_in_flight", "Calls", {"backend": name}, float(number))
            for number, name in enumerate(("home", "burst"))
        ]
    )
    samples = scraped(metrics)["spillgate_in_flight"].samples
    assert {s.labels["backend"]: s.value for s in samples} == {"home": 0.0, "burst": 1.0}


def test_a_name_with_quotes_and_line_breaks_cannot_forge_a_sample() -> None:
    metrics = Metrics()
    name = 'm"} 1\nforged{x="'
    metrics.pairs[name, "b"].ended["success"].value += 1
    families = scraped(metrics)
    assert "forged" not in families
    assert families["spillgate_calls"].samples[0].labels["model"] == name
