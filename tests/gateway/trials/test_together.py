"""A trial in several processes: what each has counted, added up."""

from __future__ import annotations

from gateway.clock import FakeClock
from gateway.processes.affairs import Affairs
from gateway.processes.messages import Asks, Tells, ToChild, Tried
from gateway.processes.rounds import Rounds
from gateway.together import ToldTrial
from gateway.trials.comparison import PredictedSums, TrialCounts, together

TRIAL = Tried(ToldTrial("version: 1", "abc", 5.0, 100.0))


def counts(trial: str, calls: int, nano: int) -> TrialCounts:
    return TrialCounts(
        trial,
        calls,
        failed=1,
        moved=[("home", "burst", calls)],
        in_force=PredictedSums(calls, wait_s=0.5 * calls),
        candidate=PredictedSums(calls, nano=nano, late=1),
    )


def test_the_counts_of_one_trial_add_up_and_those_of_another_count_nothing() -> None:
    told = together("new", [counts("new", 1, 9_000), counts("old", 50, 1), counts("new", 2, 0)])
    shown = told.as_json()
    assert (shown["calls"], shown["failed"], shown["elsewhere"]) == (3, 2, 3)
    assert shown["moved"] == [{"from": "home", "to": "burst", "calls": 3}]
    assert shown["candidate"] == {"usd": 3e-6, "wait_s": 0.0, "late": 2, "cold": 0, "nowhere": 0}
    assert shown["policy_in_force"]["wait_s"] == 0.5


async def test_what_a_process_has_counted_counts_when_it_is_gone(clock: FakeClock) -> None:
    said: list[tuple[int, ToChild]] = []
    rounds = Rounds(lambda: [2], lambda process, told: said.append((process, told)), clock)
    rounds.tell(1, Tells(0, "trial", b"one"))
    rounds.end(1)
    rounds.ask(2, Asks("trial"))
    rounds.tell(2, Tells(1, "trial", b"two"))
    assert said[-1][1].reports == ((0, b"one"), (2, b"two"))  # type: ignore[union-attr]


async def test_all_are_told_of_a_trial_and_those_that_come_until_it_ends(clock: FakeClock) -> None:
    """Who has begun it too: all in one order."""
    said: list[tuple[int, ToChild]] = []
    affairs = Affairs(
        2, lambda: [1, 2], lambda: [1, 2], lambda process, told: said.append((process, told)), clock
    )
    affairs.hear(1, TRIAL)
    assert said == [(1, TRIAL), (2, TRIAL)]
    assert TRIAL in list(affairs.begin(3))
    affairs.hear(2, Tried(ToldTrial()))
    assert said[2:] == [(1, Tried(ToldTrial())), (2, Tried(ToldTrial()))]
    assert not [one for one in affairs.begin(4) if isinstance(one, Tried)]
