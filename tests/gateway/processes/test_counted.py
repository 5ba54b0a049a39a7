"""One scrape tells what all processes count, and no counter falls when one of them ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Metrics
from gateway.processes.counted import GAUGES, counted, rendered, without_gauges

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
Labels = frozenset[tuple[str, str]]
Values = dict[tuple[str, Labels], float]


def said(text: bytes) -> Values:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
    }


def process(gauges: dict[str, float], *seconds: float) -> Metrics:
    """One that has ended so many calls, and reads so much."""
    metrics = Metrics()
    for value in seconds:
        pair = metrics.pairs["m", "b"]
        pair.ended["success"].value += 1
        pair.seconds.observe(value)
        metrics.refused.labels("rate_limited").inc()
    metrics.observe(lambda: [(name, "Read", {}, value) for name, value in gauges.items()])
    return metrics


def together(*processes: Metrics) -> Values:
    return said(rendered([(at, counted(one.registry)) for at, one in enumerate(processes, 1)]))


def test_of_one_process_is_told_what_it_tells_itself() -> None:
    alone = process({"spillgate_in_flight": 3.0}, 0.2, 4.0)
    assert together(alone) == said(alone.render())


def test_counters_and_every_bucket_of_histograms_are_sums() -> None:
    found = together(process({}, 0.2, 4.0), process({}), process({}, 0.2))
    at = frozenset({("model", "m"), ("backend", "b")})
    assert found["spillgate_calls_total", at | {("outcome", "success")}] == 3.0
    assert found["spillgate_refused_total", frozenset({("code", "rate_limited")})] == 3.0
    assert found["spillgate_call_seconds_bucket", at | {("le", "0.25")}] == 2.0
    assert found["spillgate_call_seconds_count", at] == 3.0
    assert found["spillgate_call_seconds_sum", at] == pytest.approx(4.4)


@pytest.mark.parametrize(
    ("gauge", "told"),
    [
        ("spillgate_in_flight", {"": 5.0}),
        ("spillgate_backend_ready", {"": 2.0}),
        ("spillgate_keys_failing", {"": 3.0}),
        ("spillgate_descriptors", {"1": 2.0, "2": 3.0}),
    ],
)
def test_a_gauge_is_told_as_fits_it(gauge: str, told: dict[str, float]) -> None:
    found = together(process({gauge: 2.0}), process({gauge: 3.0}))
    read = {labels: value for (name, labels), value in found.items() if name == gauge}
    assert {dict(labels).get("process", ""): value for labels, value in read.items()} == told


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(["count", "end"]), st.integers(0, 2)), min_size=1, max_size=20
    )
)
@example([("count", 0)] * 7 + [("count", 1), ("count", 1), ("count", 2), ("end", 2)])
def test_no_counter_falls_whoever_ends(steps: list[tuple[str, int]]) -> None:
    processes = [process({"spillgate_in_flight": 1.0}) for _ in range(3)]
    ended: list[bytes] = []
    before: Values = {}
    for step, at in steps:
        if step == "count":
            processes[at].pairs["m", "b"].ended["success"].value += 1
            processes[at].overhead.observe(0.001)
        else:
            ended = [without_gauges([*ended, counted(processes[at].registry)])]
            processes[at] = process({"spillgate_in_flight": 1.0})
        reports = [(0, one) for one in ended]
        reports += [(number, counted(one.registry)) for number, one in enumerate(processes, 1)]
        now = said(rendered(reports))
        assert all(now[key] >= value for key, value in before.items())
        assert now["spillgate_in_flight", frozenset()] == 3.0
        before = {key: value for key, value in now.items() if not key[0].endswith("_created")}


def test_the_page_says_how_each_gauge_is_told() -> None:
    rows = {"the sum": "sum", "the least that one says": "least", "each one's": "each"}
    page = {
        name: how
        for start, how in rows.items()
        for row in re.findall(rf"^\| {start}[^|]*\|([^|]*)\|", PAGE, re.MULTILINE)
        for name in re.findall(r"`(spillgate_\w+)`", row)
    }
    assert page == GAUGES
