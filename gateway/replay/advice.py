"""What to reserve for such traffic, at which price, and what it saves.

For each pair of a serverless price and a price by the hour the traffic is replayed by the planner,
on a reserved fleet and on the platform alone; the cheapest that keeps 99 % of the promises is
advised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from gateway.replay.outcome import Outcome
from gateway.replay.planned import planned
from gateway.replay.platforms import Platform
from gateway.replay.references import TARGET, fewest_workers, reserved, serverless
from gateway.replay.traffic import DAY_S, Traffic

_ALWAYS = 0.9
"""A worker that is rented for so much of the time is one to rent by the month."""
_MONTH_S = 30 * DAY_S


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A platform at a price, and a machine by the hour at another."""

    platform: Platform
    """With both prices."""
    serverless: str
    """The name of its price, and the day on which it was read."""
    serverless_as_of: str
    reserved: str
    reserved_as_of: str


class BreakEven(msgspec.Struct, frozen=True):
    """Where a reserved worker pays."""

    busy_share: float
    """Share of the time, 0 to 1, for which it must be at work; above 1 it never pays."""
    requests_per_day: float


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """For one offer."""

    offer: Offer
    break_even: BreakEven
    outcomes: dict[str, Outcome]
    """``planned``, ``reserved``, ``serverless``."""
    fleet: int
    choice: str
    """One of these: the cheapest that keeps its promises, else that which keeps most."""
    always: int
    """Workers to rent by the month, where the choice is ``planned``."""
    most: int
    """Workers that it rents at its peak."""

    @property
    def saves(self) -> float | None:
        """US dollars of the judged part against the cheapest other way that keeps its promises;
        None where there is none."""
        kept = [
            one.usd
            for name, one in self.outcomes.items()
            if name != self.choice and one.slo_attainment >= TARGET
        ]
        return min(kept) - self.outcomes[self.choice].usd if kept else None


def break_even(platform: Platform, job_s: float, overhead: float) -> BreakEven:
    """For calls of ``job_s`` seconds, of each of whose seconds the platform bills ``overhead``:
    starts and idle time are in it."""
    per_busy_s = platform.per_s * overhead + platform.per_call / job_s
    share = platform.reserved_per_s / per_busy_s
    return BreakEven(share, share * DAY_S / job_s)


def advise(
    traffic: Traffic,
    offers: Iterable[Offer],
    advanced: Callable[[str, float], object] = lambda _stage, _done: None,
) -> list[Advice]:
    """One for each offer, in their order."""
    offers = list(offers)
    first = traffic if traffic.arrivals[0].at >= traffic.judged_from else traffic.learned_from()
    fleet = fewest_workers(first)
    alone: dict[str, Outcome] = {}
    found = []
    for number, offer in enumerate(offers):
        if offer.serverless not in alone:
            alone[offer.serverless] = serverless(traffic, offer.platform)
        found.append(_advice(traffic, offer, alone[offer.serverless], fleet))
        advanced("offers", (number + 1) / len(offers))
    return found


def _advice(traffic: Traffic, offer: Offer, alone: Outcome, fleet: int) -> Advice:
    platform, calls = offer.platform, traffic.judged
    outcomes = {
        "planned": planned(traffic, platform),
        "reserved": reserved(traffic, platform, fleet),
        "serverless": alone,
    }
    work_s = sum(one.runs_s for one in calls)
    overhead = max(1.0, alone.serverless_gpus * traffic.judged_s / work_s)
    rented = _rented(outcomes["planned"])
    return Advice(
        offer=offer,
        break_even=break_even(platform, work_s / len(calls), overhead),
        outcomes=outcomes,
        fleet=fleet,
        choice=_choice(outcomes),
        always=rented[int((1 - _ALWAYS) * len(rented))],
        most=rented[-1],
    )


def _rented(outcome: Outcome) -> list[int]:
    """Reserved workers of each step of the judged part, the fewest first."""
    course = outcome.course
    assert course is not None
    steps = (
        workers
        for number, workers in enumerate(course.reserved)
        if course.start + number * course.step_s >= course.judged_from
    )
    return sorted(round(workers) for workers in steps) or [0]


def _choice(outcomes: dict[str, Outcome]) -> str:
    kept = {name: one.usd for name, one in outcomes.items() if one.slo_attainment >= TARGET}
    if kept:
        return min(kept, key=lambda name: kept[name])
    return max(outcomes, key=lambda name: outcomes[name].slo_attainment)


def load_json(traffic: Traffic) -> dict[str, Any]:
    """The traffic in a few figures."""
    calls, days = traffic.judged, traffic.judged_s / DAY_S
    work_s = sum(one.runs_s for one in calls)
    tokens = sum(one.tokens for one in calls)
    return {
        "requests_per_day": round(len(calls) / days, 1),
        "job_seconds": round(work_s / len(calls), 3),
        "busy_gpus": round(work_s / traffic.judged_s, 3),
        "tokens_per_day": round(tokens / days) if tokens else None,
        "slo_seconds": traffic.slo_s,
    }


def as_json(traffic: Traffic, advice: Sequence[Advice]) -> list[dict[str, Any]]:
    """Each offer, as ``spillgate advise --json`` prints it."""
    return [_offer_json(traffic, one) for one in advice]


def _offer_json(traffic: Traffic, one: Advice) -> dict[str, Any]:
    offer, months = one.offer, traffic.judged_s / _MONTH_S
    tokens = sum(call.tokens for call in traffic.judged)
    chosen, saves = one.outcomes[one.choice], one.saves
    return {
        "serverless": offer.serverless,
        "serverless_as_of": offer.serverless_as_of,
        "usd_per_second": offer.platform.per_s,
        "reserved": offer.reserved,
        "reserved_as_of": offer.reserved_as_of,
        "usd_per_hour": offer.platform.reserved_per_hour,
        "break_even": {
            "busy_share": round(one.break_even.busy_share, 4),
            "requests_per_day": round(one.break_even.requests_per_day),
        },
        "choice": one.choice,
        "reserve": {
            "by_month": one.fleet if one.choice == "reserved" else _if_planned(one, one.always),
            "by_hour_mean": round(_if_planned(one, chosen.reserved_gpus - one.always), 2),
            "most": one.fleet if one.choice == "reserved" else _if_planned(one, one.most),
        },
        "usd_per_month": {
            name: round(found.usd / months, 2) for name, found in one.outcomes.items()
        },
        "slo_attainment": {
            name: round(found.slo_attainment, 5) for name, found in one.outcomes.items()
        },
        "saves_per_month": None if saves is None else round(saves / months, 2),
        "usd_per_million_tokens": round(1e6 * chosen.usd / tokens, 4) if tokens else None,
    }


def _if_planned(one: Advice, workers: float) -> Any:
    return max(workers, 0) if one.choice == "planned" else 0
