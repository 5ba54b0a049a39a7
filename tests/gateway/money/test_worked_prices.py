"""Prices as platforms ask them, to the nano-dollar; each example does the sum in words.

A rate of 1 USD a million tokens is 1,000 nano-dollars a token.
"""

from __future__ import annotations

from typing import Any

import pytest

from adapters.types import TokenParts, Usage
from gateway.money.pricing import charge, charge_lines, idle_charge
from gateway.policy.sections.price import Price
from gateway.types import NANO

USD = NANO


def parts(**counts: int) -> TokenParts:
    return TokenParts(**counts)


CLAUDE_LIKE: dict[str, Any] = {
    "per_million_input": 3 * USD,
    "per_million_cached_input": 300_000_000,
    "per_million_cache_write": 3_750_000_000,
    "per_million_cache_write_1h": 6 * USD,
    "per_million_output": 15 * USD,
}
EXAMPLES: dict[str, tuple[Price, Usage, int]] = {
    "1,200 tokens in at 0.50 and 300 out at 1.50: 600,000 + 450,000": (
        Price(per_million_input=500_000_000, per_million_output=1_500_000_000),
        Usage(input_tokens=1200, output_tokens=300),
        1_050_000,
    ),
    "800 of 1,200 from the cache at a tenth: 400 x 500 + 800 x 50 + 300 x 1,500": (
        Price(
            per_million_input=500_000_000,
            per_million_cached_input=50_000_000,
            per_million_output=1_500_000_000,
        ),
        Usage(input_tokens=1200, output_tokens=300, parts=parts(cached=800)),
        200_000 + 40_000 + 450_000,
    ),
    "no rate for the cache: as other input, 1,200 x 500 + 300 x 1,500": (
        Price(per_million_input=500_000_000, per_million_output=1_500_000_000),
        Usage(input_tokens=1200, output_tokens=300, parts=parts(cached=800)),
        1_050_000,
    ),
    "50 new, 1,000 read, 200 kept for minutes, 100 for an hour, 20 out": (
        # 50 x 3,000 + 1,000 x 300 + 200 x 3,750 + 100 x 6,000 + 20 x 15,000
        Price(**CLAUDE_LIKE),
        Usage(
            input_tokens=1350,
            output_tokens=20,
            parts=parts(cached=1000, cache_write=200, cache_write_1h=100),
        ),
        150_000 + 300_000 + 750_000 + 600_000 + 300_000,
    ),
    "an hour has no rate of its own: that of minutes, 100 x 3,750": (
        Price(per_million_input=3 * USD, per_million_cache_write=3_750_000_000),
        Usage(input_tokens=100, parts=parts(cache_write_1h=100)),
        375_000,
    ),
    "reasoning at a rate of its own: 200 x 1,000 + 100 x 4,000": (
        Price(per_million_output=USD, per_million_reasoning=4 * USD),
        Usage(output_tokens=300, parts=parts(reasoning=100)),
        600_000,
    ),
    "sound in and out: 30 x 40,000 + 70 x 2,500 + 10 x 80,000": (
        Price(
            per_million_input=2_500_000_000,
            per_million_audio_input=40 * USD,
            per_million_output=10 * USD,
            per_million_audio_output=80 * USD,
        ),
        Usage(input_tokens=100, output_tokens=10, parts=parts(audio_input=30, audio_output=10)),
        1_200_000 + 175_000 + 800_000,
    ),
    "sound from a cache at a rate of its own: 50 x 300 + 10 x 60 + 30 x 10,000 + 10 x 600": (
        Price(
            per_million_input=600_000_000,
            per_million_cached_input=60_000_000,
            per_million_cached_audio_input=300_000_000,
            per_million_audio_input=10 * USD,
        ),
        Usage(input_tokens=100, parts=parts(cached=60, cached_audio=50, audio_input=30)),
        15_000 + 600 + 300_000 + 6_000,
    ),
    "sound from a cache as other cached input: 60 x 400 + 30 x 32,000 + 10 x 4,000": (
        Price(
            per_million_input=4 * USD,
            per_million_cached_input=400_000_000,
            per_million_audio_input=32 * USD,
        ),
        Usage(input_tokens=100, parts=parts(cached=60, cached_audio=50, audio_input=30)),
        24_000 + 960_000 + 40_000,
    ),
    "more cached than read: what was read, 10 x 50": (
        Price(per_million_input=500_000_000, per_million_cached_input=50_000_000),
        Usage(input_tokens=10, parts=parts(cached=99)),
        500,
    ),
    "two images at 0.04 and a fee of 0.01": (
        Price(per_image=40_000_000, per_call=10_000_000),
        Usage(images=2, exec_s=9.0),
        90_000_000,
    ),
    "9.5 s of sound at 0.0001 a second: 9.5 x 100,000": (
        Price(per_audio_second=100_000),
        Usage(audio_s=9.5),
        950_000,
    ),
    "2 s of work, the start of 10 s billed: 12 x 1,160,000": (
        Price(per_second=1_160_000, bills=("start", "run", "idle")),
        Usage(exec_s=2.0, cold_s=10.0),
        13_920_000,
    ),
    "0.2 s, of which at least 1 s is charged": (
        Price(per_second=1_160_000, minimum=1_000_000),
        Usage(exec_s=0.2),
        1_160_000,
    ),
    "no time at all is charged as none, whatever the least is": (
        Price(per_second=1_160_000, minimum=1_000_000),
        Usage(exec_s=0.0),
        0,
    ),
    "1.21 s in steps of 100 ms: 1.3 x 1,160,000": (
        Price(per_second=1_160_000, round_up=100_000),
        Usage(exec_s=1.21),
        1_508_000,
    ),
    "1.3 s in steps of 100 ms stays 1.3 s, though 1.3 is no binary fraction": (
        Price(per_second=1_160_000, round_up=100_000),
        Usage(exec_s=1.3),
        1_508_000,
    ),
    "61 s by the minute: 120 x 1,250,000": (
        Price(per_second=1_250_000, round_up=60_000_000),
        Usage(exec_s=61.0),
        150_000_000,
    ),
    "start and work are rounded together: 0.04 + 0.05 s is one step": (
        Price(per_second=1_000_000, bills=("start", "run"), round_up=100_000),
        Usage(exec_s=0.05, cold_s=0.04),
        100_000,
    ),
    "half a second's share of 2.69 an hour: 2,690,000,000 / 7,200 = 373,611.1": (
        Price(per_hour=2_690_000_000),
        Usage(exec_s=4.0, gpu_s=0.5),
        373_611,
    ),
    "a third of a nano-dollar for each of two kinds is one, not two": (
        Price(per_million_input=333_333, per_million_output=333_333),
        Usage(input_tokens=1, output_tokens=1),
        1,
    ),
    "what the platform states is what it costs": (
        Price(per_second=NANO, per_image=NANO),
        Usage(exec_s=5.0, images=3, cost_nano=42),
        42,
    ),
}


@pytest.mark.parametrize(("price", "usage", "nano"), EXAMPLES.values(), ids=EXAMPLES)
def test_a_call_costs_what_the_platform_asks(price: Price, usage: Usage, nano: int) -> None:
    assert charge(price, usage) == nano
    assert sum(line.cost_nano for line in charge_lines(price, usage)) == nano


def test_the_parts_of_a_charge_say_by_what_and_how_much() -> None:
    usage = Usage(input_tokens=1350, output_tokens=20, parts=parts(cached=1000, cache_write=200))
    told = [(one.item, one.quantity) for one in charge_lines(Price(**CLAUDE_LIKE), usage)]
    assert told == [
        ("per_million_cache_write", 200),
        ("per_million_cached_input", 1000),
        ("per_million_input", 150),
        ("per_million_output", 20),
    ]


def test_idle_seconds_cost_something_where_they_are_billed() -> None:
    """Five seconds at 0.00116; ``minimum`` is of calls."""
    billed = Price(per_second=1_160_000, bills=("start", "run", "idle"), minimum=60_000_000)
    assert idle_charge(billed, 5_000_000) == 5_800_000
    assert idle_charge(Price(per_second=1_160_000), 5_000_000) == 0
    assert idle_charge(Price(per_hour=NANO), 5_000_000) == 0
    assert idle_charge(None, 5_000_000) == 0
