"""All of it side by side, as figures and as a page."""

from __future__ import annotations

import html.parser
from typing import Any

import msgspec
import pytest

from gateway.replay.comparison import Replayed, as_json, compare, rows
from gateway.replay.page import page
from gateway.replay.platforms import PLATFORMS
from tests.gateway.replay.test_planned import made_up

KEYS = {
    "cost_per_1000", "slo_attainment", "surge_attainment", "cold_share", "reserved_gpus",
    "clairvoyant_per_1000", "lower_bound_per_1000", "ratio",
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> Replayed:
    return compare(made_up(), PLATFORMS["modal"])


def test_every_figure_is_told_of_the_plan_and_of_the_references(found: Replayed) -> None:
    told = as_json(found)
    assert told.keys() >= KEYS
    assert told["references"].keys() == {"reserved", "serverless", "rule_of_thumb"}
    for one in told["references"].values():
        assert one.keys() >= KEYS
        assert one["clairvoyant_per_1000"] == told["clairvoyant_per_1000"]
    assert told["ratio"] == pytest.approx(
        told["cost_per_1000"] / told["clairvoyant_per_1000"], rel=1e-4
    )
    assert told["lower_bound_per_1000"] <= told["clairvoyant_per_1000"] <= told["cost_per_1000"]


def test_harm_is_measured_against_the_cheaper_that_keeps_its_promises(found: Replayed) -> None:
    def late(**calls: int) -> Replayed:
        changed = {
            name: msgspec.structs.replace(one, late=calls.get(name, one.calls))
            for name, one in found.references.items()
        }
        return msgspec.structs.replace(found, references=changed)

    ours, fleet = found.planned.usd, found.references["reserved"].usd
    alone = found.references["serverless"].usd
    assert late().harm is None
    assert late(reserved=0).harm == pytest.approx(ours / fleet)
    assert late(serverless=0).harm == pytest.approx(ours / alone)
    assert late(reserved=0, serverless=0).harm == pytest.approx(ours / min(fleet, alone))


def test_a_table_has_a_line_for_each(found: Replayed) -> None:
    heads, lines = rows(found)
    assert {len(line) for line in lines} == {len(heads)}
    assert [line[0].partition(" ")[0] for line in lines] == [
        "planned", "reserved", "serverless", "1,000", "clairvoyant", "lower",
    ]  # fmt: skip


class Tags(html.parser.HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.tags.append(tag)
        self.links += [name for name, _ in attrs if name in ("src", "href", "onload", "onclick")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_whole_and_fetches_nothing(found: Replayed) -> None:
    bad = msgspec.structs.replace(found.traffic, name='<script>alert("x")</script>')
    text = page(msgspec.structs.replace(found, traffic=bad))
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.tags.count("svg") == 3
    assert tags.links == []
    assert "script" not in tags.tags
    assert "url(" not in text
    assert "@import" not in text
