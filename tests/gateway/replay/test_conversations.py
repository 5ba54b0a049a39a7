"""Conversations that are made up by published means, and the router's way through them."""

from __future__ import annotations

import json
from statistics import mean

import pytest

from gateway.cli.recorded import replay
from gateway.policy.sections.price import Price
from gateway.replay.conversations import ConversationsCost, Market, Way, made_up, through
from gateway.types import NANO

SEEDS = range(1, 4)


def price(times: float) -> Price:
    return Price(
        per_million_input=round(times * NANO),
        per_million_cached_input=round(times * NANO / 10),
        per_million_output=round(4 * times * NANO),
    )


def all_of(way: Way, times: float) -> list[ConversationsCost]:
    market = Market(home=price(1.0), away=price(times))
    return [through(market, way, made_up(60, 30.0, seed)) for seed in SEEDS]


def spent(outcomes: list[ConversationsCost]) -> int:
    return sum(one.nano for one in outcomes)


def spent_per_call_in_time(outcomes: list[ConversationsCost]) -> float:
    return spent(outcomes) / sum(one.calls - one.late for one in outcomes)


def test_they_have_the_published_means() -> None:
    turns = [turn for seed in SEEDS for one in made_up(120, 30.0, seed) for turn in one]
    conversations = len({(turn.conversation) for turn in turns}) * len(SEEDS)
    assert len(turns) / conversations == pytest.approx(3.95 * 7.83, rel=0.1)
    assert mean(turn.prompt for turn in turns) == pytest.approx(67_900, rel=0.1)
    assert mean(turn.answer for turn in turns) == pytest.approx(528, rel=0.1)
    cached = sum(turn.reused for turn in turns) / sum(turn.prompt for turn in turns)
    assert cached == pytest.approx(0.857, rel=0.02)


@pytest.mark.parametrize("times", [1.0, 1.5, 3.0])
def test_a_call_in_time_costs_no_more_than_by_the_better_of_staying_and_spilling(
    times: float,
) -> None:
    stay, spill, priced = (all_of(way, times) for way in ("stay", "spill", "priced"))
    better = min(spent_per_call_in_time(stay), spent_per_call_in_time(spill))
    assert spent_per_call_in_time(priced) <= better * 1.002
    assert spent(priced) <= min(spent(stay), spent(spill)) * 1.03


def test_of_dearer_capacity_it_uses_what_the_promise_needs_and_moves_seldom() -> None:
    stay, spill, priced = (all_of(way, 1.5) for way in ("stay", "spill", "priced"))
    late = [sum(one.late for one in ones) for ones in (stay, spill, priced)]
    assert late[2] < 0.7 * min(late[:2])
    assert sum(one.moved for one in priced) < sum(one.moved for one in spill) / 2


def test_the_command_prints_all_three_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main(["--conversations", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["way"] for one in found] == ["stay", "spill", "priced"]
    assert replay.main(["--conversations", "5"]) == 0
    assert "priced" in capsys.readouterr().out
