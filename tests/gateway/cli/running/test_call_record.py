"""One call is told in lines for a person: no exponents, and what each part of its cost is of."""

from __future__ import annotations

import pytest

from gateway.cli.running.calls import lines_of

PART = {"item": "per_hour", "quantity": 21_744, "rate_nano": 100_000_000, "cost_nano": 604}


def test_numbers_are_written_out_and_nano_dollars_left_to_json() -> None:
    call = {"id": "req_1", "cost_usd": 6.04e-07, "cost_nano": 604, "exec_seconds": 0.0, "tags": {}}
    assert [line.split() for line in lines_of(call)] == [
        ["id", "req_1"],
        ["cost_usd", "0.000000604"],
        ["exec_seconds", "0"],
    ]


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({}, "0.000000604 USD: 0.021744 s at 0.1 USD an hour"),
        ({"item": "per_second", "quantity": 2_000_000}, "2 s at 0.1 USD a second"),
        ({"item": "per_audio_second", "quantity": 1_500}, "1.5 s at 0.1 USD a second of sound"),
        ({"item": "per_call", "quantity": 1}, "1 at 0.1 USD a call"),
        ({"item": "per_image", "quantity": 4}, "4 at 0.1 USD an image"),
        ({"item": "per_million_input", "quantity": 1234}, "1,234 at 0.1 USD a million tokens in"),
        (
            {"item": "per_million_cached_input", "quantity": 7},
            "7 at 0.1 USD a million tokens of cached input",
        ),
        ({"item": "stated", "quantity": 1}, "0.000000604 USD, as the platform states it"),
    ],
    ids=lambda one: one.get("item", "per_hour") if isinstance(one, dict) else "",
)
def test_a_part_of_the_cost_says_how_much_of_what(part: dict[str, object], told: str) -> None:
    [head, line] = lines_of({"charged_by": {"as_of": "2026-11-30", "parts": [PART | part]}})
    assert head == "charged_by"
    assert line.endswith(told)
