"""Offers from the tables of prices that come with the gateway: an H100 by the second, and one by
the hour."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.money.price_comparison import Compared, compared, listed, unit_of
from gateway.money.text import usd
from gateway.policy.sections.price import DatedPrices, Price, epoch_s
from gateway.policy.sections.price_tables import table
from gateway.replay.advice import Offer, break_even
from gateway.replay.platforms import PLATFORMS, Platform
from gateway.types import NANO

_RESERVED = "runpod/pod-h100-sxm"
"""The beginning of the names of machines by the hour."""
_WEEKS = 7 * 200


def offers(today: datetime.date, extra_per_hour: float | None = None) -> Iterator[Offer]:
    """Each platform's H100 beside each machine by the hour, and beside one of the caller's own at
    ``extra_per_hour`` US dollars."""
    now = epoch_s(today.isoformat())
    prices = {name: dated.at(now) for name, dated in table("list").items()}
    machines = [
        (name, (price.per_hour or 0) / NANO, price.as_of or "")
        for name, price in prices.items()
        if name.startswith(_RESERVED)
    ]
    if extra_per_hour is not None:
        machines.append(("as told", extra_per_hour, ""))
    for kind, platform in PLATFORMS.items():
        price = prices[f"{kind}/h100"]
        there = msgspec.structs.replace(platform, per_s=(price.per_second or 0) / NANO)
        for name, per_hour, as_of in machines:
            yield Offer(
                platform=msgspec.structs.replace(there, reserved_per_hour=per_hour),
                serverless=f"{kind}/h100",
                serverless_as_of=price.as_of or "",
                reserved=name,
                reserved_as_of=as_of,
            )


def articles(job_s: float, today: datetime.date) -> list[dict[str, Any]]:
    """What articles say that platforms ask: where a reserved H100 of theirs would pay at calls of
    ``job_s`` seconds, and where the platforms' own lists say otherwise."""
    theirs = table("articles")
    per_hour = max(_per_hour(dated, today) for dated in theirs.values())
    against = list(listed(table("list"), today, _WEEKS))
    beside = {one.name: one for one in compared(listed(theirs, today, _WEEKS), against, "list")}
    found = []
    for name, dated in theirs.items():
        price = dated.at(epoch_s(today.isoformat()))
        told = {"name": name, "as_of": price.as_of, "source": price.source}
        told |= _break_even(price, job_s, per_hour) | _said(beside[name])
        found.append(told)
    return found


def _per_hour(dated: DatedPrices, today: datetime.date) -> float:
    return (dated.at(epoch_s(today.isoformat())).per_hour or 0) / NANO


def _break_even(price: Price, job_s: float, per_hour: float) -> dict[str, Any]:
    """Of the seconds that a call runs alone: starts and idle time are none of theirs."""
    if price.per_second is None:
        return {"break_even": None}
    platform = Platform(
        name="theirs",
        per_s=price.per_second / NANO,
        per_call=(price.per_call or 0) / NANO,
        starts=(0.0,),
        default_idle_s=0.0,
        reserved_per_hour=per_hour,
    )
    found = break_even(platform, job_s, 1.0)
    return {
        "break_even": {
            "busy_share": round(found.busy_share, 4),
            "requests_per_day": round(found.requests_per_day),
        }
    }


def _said(one: Compared) -> dict[str, Any]:
    if not one.against:
        return {"list": None, "differs": []}
    differs = [
        f"{_text(each.ours)} {unit_of(each.figure)}, listed: {_text(each.theirs)}"
        for each in one.differences
    ]
    return {"list": one.against, "differs": differs}


def _text(nano: int | None) -> str:
    return "nothing" if nano is None else f"${usd(nano)}"
