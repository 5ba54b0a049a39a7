"""A slow call is asked of a second backend in a replay as well, and both are paid for."""

from __future__ import annotations

import random

import pytest

from gateway.policy.reader import read_policy_text
from gateway.replay.traffic import Arrival, Traffic
from gateway.replay.virtual.played import Assumed, PlayedPolicy, play
from gateway.replay.virtual.second_runs import SecondRuns

POLICY = """
version: 1
backends:
  first: {kind: http, base_url: "http://127.0.0.1:1", stream_path: /s, openai: true,
          price: flex, expect: 1s, repeat: always}
  second: {kind: http, base_url: "http://127.0.0.1:2", stream_path: /s, openai: true,
           price: dear, expect: 1s, repeat: always}
models:
  m: {task: chat, backends: [first, second], slo: 5s}
prices:
  flex: {per_second: 0.001, as_of: 2026-01-01, source: a list}
  dear: {per_second: 0.002, as_of: 2026-01-01, source: a list}
routes:
  - {name: all, use: [first, second], order: listed%s}
"""
HEDGE = ", hedge: {after: 2s, share: 100}"


def with_tail(*, stream: bool = False, output: int = 0) -> list[Arrival]:
    """Of 100 calls of a second every twentieth takes twenty."""
    return [
        Arrival(30.0 * n, 20.0 if n % 20 == 7 else 1.0, stream=stream, output=output)
        for n in range(100)
    ]


def played(hedge: str, arrivals: list[Arrival], policy: str = POLICY) -> PlayedPolicy:
    traffic = Traffic(
        name="slow at times", arrivals=arrivals, slo_s=5.0, judged_from=0.0, judged_until=4e3
    )
    found = read_policy_text(policy % hedge, {})
    return play(found, traffic, Assumed(model="m", now=1.8e9))


def test_a_slow_tail_is_cut_and_both_attempts_are_charged_as_they_are_billed() -> None:
    without, hedged = played("", with_tail()), played(HEDGE, with_tail())
    assert (without.hedged, hedged.hedged, hedged.hedges_won) == (0, 5, 5)
    assert without.answer_s[1:] == pytest.approx((20.0, 20.0), abs=0.01)
    assert hedged.answer_s[1:] == pytest.approx((3.0, 3.0), abs=0.01)
    assert hedged.backends == {"first": 95, "second": 5}
    assert hedged.reasons == {"LISTED": 95, "HEDGE": 5}
    # The slow ones run for three seconds at the first, and for the last of these at the second too.
    assert without.outcome.usd == pytest.approx(95 * 0.001 + 5 * 0.02, abs=1e-4)
    assert hedged.outcome.usd == pytest.approx(95 * 0.001 + 5 * (0.003 + 0.002), abs=1e-4)
    assert hedged.charged_usd == pytest.approx(hedged.outcome.usd, abs=1e-4)
    assert hedged.outcome.late == 0


def test_what_follows_from_a_calls_own_length_is_not_hedged_away() -> None:
    tokens = [500 if n % 20 == 7 else 25 for n in range(100)]
    arrivals = [
        Arrival(30.0 * n, 0.1 + 0.02 * output, tokens=output, output=output)
        for n, output in enumerate(tokens)
    ]
    hedged = played(HEDGE, arrivals)
    assert (hedged.hedged, hedged.hedges_won) == (5, 0)
    assert hedged.outcome.usd == pytest.approx(sum(one.runs_s for one in arrivals) * 0.001
                                               + 5 * (10.1 - 2.0) * 0.002, abs=1e-3)  # fmt: skip


def test_a_stream_is_hedged_by_its_first_token() -> None:
    """Which comes after a 41st of a run of 200 tokens: the slow ones' after half a second."""
    arrivals = with_tail(stream=True, output=200)
    early = HEDGE.replace("2s", "200ms")
    without, hedged = played("", arrivals), played(early, arrivals)
    assert (hedged.hedged, hedged.hedges_won) == (5, 5)
    assert hedged.answer_s[1] == pytest.approx(0.2 + 1 / 41, abs=0.01)
    assert hedged.outcome.usd < without.outcome.usd


def test_a_share_bounds_hedges_as_in_a_gateway() -> None:
    at_once = [Arrival(0.01 * n, 20.0) for n in range(100)]
    hedged = played(HEDGE.replace("100}", "5}"), at_once)
    assert hedged.hedged == 5


def test_a_place_that_a_hedge_left_is_free_at_once() -> None:
    one_by_one = POLICY.replace("expect: 1s, repeat", "expect: 1s, slots: 1, repeat", 1)
    arrivals = [Arrival(0.0, 20.0), Arrival(4.0, 1.0), *(Arrival(60.0 + n, 1.0) for n in range(98))]
    hedged = played(HEDGE, arrivals, one_by_one)
    assert (hedged.hedged, hedged.backends["first"]) == (1, 99)
    assert hedged.answer_s[2] == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_second_run_is_by_chance_what_the_first_one_was(share: float) -> None:
    """``share``: of calls of which it is known how much they wrote; all run 0.1 s, 0.02 s a token,
    and by chance one to three times that."""
    draw = random.Random(5)
    arrivals = []
    for n in range(2000):
        output = draw.randrange(1, 400) if share else 0
        chance = 1.0 if share == 1.0 else 1 + 2 * draw.random()
        arrivals.append(Arrival(float(n), (0.1 + 0.02 * output) * chance, "", output, output))
    again = SecondRuns(arrivals, seed=1)
    seconds = [again.seconds(one, f"c{n}") for n, one in enumerate(arrivals)]
    assert sum(seconds) == pytest.approx(sum(one.runs_s for one in arrivals), rel=0.05)
    assert seconds == [again.seconds(one, f"c{n}") for n, one in enumerate(arrivals)]
    if share == 1.0:
        assert seconds == pytest.approx([one.runs_s for one in arrivals])
