"""A planned fleet beside what else one could do, and beside what could be done at best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.replay.clairvoyant import Clairvoyant, clairvoyant
from gateway.replay.outcome import Outcome
from gateway.replay.planned import DEFAULTS, Parameters, planned
from gateway.replay.platforms import Platform
from gateway.replay.references import (
    TARGET,
    fewest_workers,
    reserved,
    rule_of_thumb,
    serverless,
)
from gateway.replay.traffic import Traffic

Advanced = Callable[[str, float], object]
"""Told of each stage how much of it is done, 0 to 1."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """Of the same traffic at the same prices."""

    traffic: Traffic
    platform: Platform
    planned: Outcome
    references: dict[str, Outcome]
    """``reserved``, ``serverless`` and ``rule_of_thumb``."""
    fleet: int
    """Workers of the reserved one."""
    best: Clairvoyant
    policy: Outcome | None = None
    """What a policy does, where one is replayed."""

    @property
    def meant(self) -> Outcome:
        """What the others are beside: the policy, else the planned fleet."""
        return self.planned if self.policy is None else self.policy

    @property
    def beside(self) -> dict[str, Outcome]:
        """The others by their names."""
        planned = {} if self.policy is None else {"planned": self.planned}
        return {**planned, **self.references}

    def ratio(self, outcome: Outcome) -> float:
        """Its cost over that of the clairvoyant plan."""
        return outcome.usd / self.best.plan

    @property
    def harm(self) -> float | None:
        """Its cost over that of the cheaper one of reserved and serverless that keeps 99 %
        of the promises; None where neither does."""
        kept = [
            self.references[name].usd
            for name in ("reserved", "serverless")
            if self.references[name].slo_attainment >= TARGET
        ]
        return self.meant.usd / min(kept) if kept else None


def compare(
    traffic: Traffic,
    platform: Platform,
    chosen: Parameters = DEFAULTS,
    *,
    seed: int = 1,
    advanced: Advanced = lambda _stage, _done: None,
) -> Replayed:
    """Replays the traffic each way."""
    total = len(traffic.arrivals)
    found = planned(
        traffic, platform, chosen, seed=seed, advanced=lambda n: advanced("replay", n / total)
    )
    advanced("replay", 1.0)
    best = clairvoyant(traffic, platform, lambda n: advanced("clairvoyant plan", 1 - 0.96**n))
    advanced("clairvoyant plan", 1.0)
    fleet = fewest_workers(_first_part(traffic))
    references = {
        "reserved": reserved(traffic, platform, fleet),
        "serverless": serverless(traffic, platform, seed),
    }
    advanced("references", 0.7)
    references["rule_of_thumb"] = rule_of_thumb(traffic, platform, fleet, seed)
    advanced("references", 1.0)
    return Replayed(
        traffic=traffic,
        platform=platform,
        planned=found,
        references=references,
        fleet=fleet,
        best=best,
    )


def _first_part(traffic: Traffic) -> Traffic:
    """What is learned from; all of it where everything is judged."""
    if traffic.arrivals[0].at >= traffic.judged_from:
        return traffic
    return traffic.learned_from()


def as_json(found: Replayed) -> dict[str, Any]:
    """What ``spillgate replay --json`` prints."""
    told = {
        "object": "replay",
        "trace": found.traffic.name,
        "platform": found.platform.name,
        "calls": found.meant.calls,
        "judged_seconds": round(found.traffic.judged_s, 3),
        "slo_seconds": found.traffic.slo_s,
        "usd_per_hour_reserved": found.platform.reserved_per_hour,
        "usd_per_second_serverless": found.platform.per_s,
        **_outcome(found, found.meant),
        "do_no_harm": _rounded(found.harm),
        "reserved_fleet": found.fleet,
    }
    references = {name: _outcome(found, one) for name, one in found.beside.items()}
    return {**told, "references": references}


def _outcome(found: Replayed, one: Outcome) -> dict[str, Any]:
    thousands = one.calls / 1000
    half, most, nearly_all = one.waits
    return {
        "cost_per_1000": _rounded(one.cost_per_1000),
        "slo_attainment": _rounded(one.slo_attainment),
        "surge_attainment": _rounded(one.surge_attainment),
        "cold_share": _rounded(one.cold_share),
        "reserved_gpus": _rounded(one.reserved_gpus),
        "serverless_gpus": _rounded(one.serverless_gpus),
        "broken_promises": one.late,
        "wait_seconds": {
            "p50": _rounded(half), "p95": _rounded(most), "p99": _rounded(nearly_all),
        },
        "clairvoyant_per_1000": _rounded(found.best.plan / thousands),
        "lower_bound_per_1000": _rounded(found.best.bound / thousands),
        "ratio": _rounded(found.ratio(one)),
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


_HEADS = ("", "USD/1,000", "x best", "in time", "in surges", "cold", "reserved", "serverless")


def rows(found: Replayed) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(Heads, lines) of a table for people."""
    lines = [_row(found, "planned" if found.policy is None else "the policy", found.meant)]
    names = {
        "reserved": f"reserved ({found.fleet})",
        "serverless": "serverless",
        "rule_of_thumb": "1,000 a day",
    }
    lines += [_row(found, names.get(name, name), one) for name, one in found.beside.items()]
    thousands = found.planned.calls / 1000
    for name, usd in (("clairvoyant", found.best.plan), ("lower bound", found.best.bound)):
        ratio = f"{usd / found.best.plan:.3f}"
        lines.append((name, f"{usd / thousands:.2f}", ratio, "", "", "", "", ""))
    return _HEADS, lines


def _row(found: Replayed, name: str, one: Outcome) -> tuple[str, ...]:
    return (
        name,
        f"{one.cost_per_1000:.2f}",
        f"{found.ratio(one):.3f}",
        _percent(one.slo_attainment),
        _percent(one.surge_attainment),
        _percent(one.cold_share),
        f"{one.reserved_gpus:.2f}",
        f"{one.serverless_gpus:.2f}",
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"
