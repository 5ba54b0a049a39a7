"""What a backend charges, as people read it."""

from __future__ import annotations

import pytest

from gateway.console.drawing.prices import price_facts, price_words
from gateway.policy.reader import read_policy_text
from gateway.policy.sections.price import Price

IMAGES = """per_image: 0.04, by_image: [{size: 1024x1024, quality: high, per_image: 0.17},
    {size: 512x512, per_image: 0.02}]"""
HOURS = """per_million_input: 1, per_million_cached_input: 0.1,
    by_hours: [{hours: "Fri-Mon 22:00-02:00 Asia/Shanghai", per_million_input: 0.5}]"""


def price(text: str) -> Price:
    whole = f"version: 1\nprices: {{p: {{{text}, as_of: 2026-11-09, source: test}}}}"
    return read_policy_text(whole, environ={}).prices["p"].at(0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("per_hour: 2.69", "$2.69 an hour"),
        (
            "per_call: 0.001, per_second: 0.00116, bills: [start, run]",
            "$0.00116 a second of start, run, $0.001 a call",
        ),
        (IMAGES, "$0.04 an image; differs by image"),
        (HOURS, "$1 a million tokens in; differs by hour"),
    ],
)
def test_a_price_in_short_says_by_what_it_differs(text: str, words: str) -> None:
    assert price_words(price(text)) == words
    assert price_words(None) == "free"


def test_each_price_that_holds_for_some_calls_is_a_line_of_its_own() -> None:
    assert list(price_facts(price(IMAGES))) == [
        ("price", "$0.04 an image"),
        ("of images 1024x1024 high", "$0.17 an image"),
        ("of images 512x512", "$0.02 an image"),
    ]
    assert list(price_facts(price(HOURS))) == [
        ("price", "$1 a million tokens in, $0.1 a million tokens of cached input"),
        ("Fri-Mon 22:00-02:00 Asia/Shanghai", "$0.5 a million tokens in"),
    ]
    devices = "per_second: 0.001, by_device: [{device: H100, per_second: 0.002}]"
    assert dict(price_facts(price(devices)))["on H100"] == "$0.002 a second"
    tiers = "per_call: 1, by_volume: {of: calls, per: day, tiers: [{above: 1000, per_call: 0.5}]}"
    assert dict(price_facts(price(tiers)))["above 1,000 calls a day"] == "$0.5 a call"
    assert list(price_facts(None)) == [("price", "free")]
