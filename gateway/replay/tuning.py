"""Which way to serve recorded traffic keeps its promises for least: chosen by the earlier part of
a recording, judged on the later.

A way is chosen among those that keep the target in the earlier part as it was and at one and a half
times the calls; what it saves is then measured on the later part, against what is done today.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gateway.replay.outcome import Outcome
from gateway.replay.platforms import Platform
from gateway.replay.references import TARGET, fewest_workers
from gateway.replay.traffic import Traffic

STRESS = 1.5
SEEDS = (1, 2, 3)
_LEARNED = 1 / 3
"""Of the earlier part, which is itself learned from."""

Run = Callable[[Traffic, Platform, int], Outcome]


class Way(msgspec.Struct, frozen=True):
    """One way to serve the traffic."""

    name: str
    run: Run
    """By a seed."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How a way did in the earlier part."""

    way: str
    cost_per_1000: float
    slo_attainment: float
    stressed: float
    """The attainment at one and a half times the calls."""

    @property
    def keeps(self) -> bool:
        """Whether it keeps the target, stressed or not."""
        return min(self.slo_attainment, self.stressed) >= TARGET


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """What is proposed, and what it would have done in the later part."""

    way: str
    """``today`` where nothing better keeps its promises."""
    trials: list[Trial]
    fleet: int
    """Workers of ``reserved``."""
    today: Outcome
    proposed: Outcome
    saves: tuple[float, float, float]
    """Share of today's cost: the least, the middle and the most of the seeds."""
    stressed: float
    """The attainment in the later part at one and a half times the calls."""

    @property
    def keeps(self) -> bool:
        """Whether the later part confirms it."""
        return self.proposed.slo_attainment >= TARGET


def tune(
    traffic: Traffic,
    platform: Platform,
    ways: Callable[[int], Sequence[Way]],
    advanced: Callable[[str, float], object] = lambda _stage, _done: None,
) -> Tuned:
    """``ways``: those that there are, a reserved fleet of so many workers among them; ``today`` is
    one. Raises ValueError where no calls came before the part that is judged."""
    earlier = _earlier(traffic)
    fleet = fewest_workers(earlier.scaled(STRESS))
    known = ways(fleet)
    trials = []
    for number, way in enumerate(known):
        trials.append(_trial(way, earlier, platform))
        advanced("earlier part", (number + 1) / len(known))
    by_name = {way.name: way for way in known}
    chosen = by_name[_chosen(trials)]
    found = _judged(traffic, platform, by_name["today"], chosen, advanced)
    today, proposed, saves = found
    return Tuned(
        way=chosen.name,
        trials=trials,
        fleet=fleet,
        today=today,
        proposed=proposed,
        saves=saves,
        stressed=chosen.run(traffic.scaled(STRESS), platform, SEEDS[0]).slo_attainment,
    )


def _earlier(traffic: Traffic) -> Traffic:
    first = traffic.learned_from()
    begins = first.judged_from + _LEARNED * first.judged_s
    if first.arrivals[-1].at < begins:
        raise ValueError(f"{traffic.name}: too few calls before the part that is judged")
    return msgspec.structs.replace(first, judged_from=begins)


def _trial(way: Way, earlier: Traffic, platform: Platform) -> Trial:
    plain = way.run(earlier, platform, SEEDS[0])
    stressed = way.run(earlier.scaled(STRESS), platform, SEEDS[0])
    return Trial(
        way=way.name,
        cost_per_1000=plain.cost_per_1000,
        slo_attainment=plain.slo_attainment,
        stressed=stressed.slo_attainment,
    )


def _chosen(trials: Sequence[Trial]) -> str:
    """The cheapest that keeps the target, else that which keeps most under stress."""
    kept = [one for one in trials if one.keeps]
    if kept:
        return min(kept, key=lambda one: one.cost_per_1000).way
    return max(trials, key=lambda one: min(one.slo_attainment, one.stressed)).way


def _judged(
    traffic: Traffic,
    platform: Platform,
    today: Way,
    chosen: Way,
    advanced: Callable[[str, float], object],
) -> tuple[Outcome, Outcome, tuple[float, float, float]]:
    saves, pairs = [], []
    for number, seed in enumerate(SEEDS):
        before, after = (way.run(traffic, platform, seed) for way in (today, chosen))
        pairs.append((before, after))
        saves.append(1 - after.usd / before.usd if before.usd else 0.0)
        advanced("later part", (number + 1) / len(SEEDS))
    least, middle, most = sorted(saves)
    return *pairs[0], (least, middle, most)
