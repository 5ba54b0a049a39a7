"""Bills as a page looks at them: the days that it shows, those that are kept of them, and what may
be booked of one backend's."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from adapters.base import Billed
from gateway.bills.booking import book, ended_days, open_causes
from gateway.bills.causes import CauseName
from gateway.bills.comparison import Comparison
from gateway.bills.kept_bills import FILE, KeptBill, KeptBills, of_ended_days
from gateway.bills.periods import DAY, Period
from gateway.bills.reconciler import Unpriced, compare_kept
from gateway.console.visits.spans import span_of
from gateway.console.visits.visit import Visit


class BilledBackend(msgspec.Struct, frozen=True, kw_only=True):
    """A backend of the policy, and its bill beside the ledger where one is known."""

    name: str
    kind: str
    is_asked: bool
    """Whether its platform can be asked."""
    source: str = ""
    at: float = 0.0
    found: Comparison | None = None
    why_not: str = ""


class Bookable(msgspec.Struct, frozen=True, kw_only=True):
    """What is on a backend's bill and in no row, of days that had ended when the bill was told."""

    found: Comparison
    days: int
    """In which something is open."""
    nano: dict[CauseName, int]
    """By cause; a cause whose days make up for one another has 0."""
    stamp: str
    """Another one as soon as any figure is another."""


def kept_bills(visit: Visit) -> KeptBills:
    """Those of the gateway's data folder."""
    return KeptBills(Path(visit.gateway.active.policy.server.data) / FILE)


def bill_period(visit: Visit) -> Period:
    """What the address asks for, in whole days (UTC), as platforms bill."""
    span = span_of(visit, "30d")
    return Period(math.floor(span.since / DAY) * DAY, math.ceil(span.until / DAY) * DAY)


async def billed_backends(visit: Visit) -> list[BilledBackend]:
    """All of the policy in force. Raises StorageUnavailable."""
    period = bill_period(visit)
    kept = await asyncio.to_thread(kept_bills(visit).within, period)
    names = list(visit.gateway.active.policy.backends)
    return await asyncio.gather(*(_told(visit, name, kept.get(name, []), period) for name in names))


async def _told(visit: Visit, name: str, kept: Sequence[KeptBill], period: Period) -> BilledBackend:
    policy = visit.gateway.active.policy
    spec = policy.backends[name]
    told = BilledBackend(
        name=name,
        kind=spec.kind,
        is_asked=isinstance(visit.gateway.active.backends[name].adapter, Billed),
    )
    if not kept:
        return told
    last = max(kept, key=lambda one: one.at)
    told = msgspec.structs.replace(told, source=last.source, at=last.at)
    try:
        found = await compare_kept(policy, spec, kept, period, visit.gateway.ledger)
    except Unpriced as error:
        return msgspec.structs.replace(told, why_not=str(error))
    return msgspec.structs.replace(told, found=found)


async def bookable(visit: Visit, backend: str, period: Period) -> Bookable | None:
    """None where nothing is open. Raises StorageUnavailable."""
    kept = (await asyncio.to_thread(kept_bills(visit).within, period)).get(backend, [])
    told = [part for one in kept if (part := of_ended_days(one)) is not None]
    policy = visit.gateway.active.policy
    try:
        found = await compare_kept(
            policy, policy.backends[backend], told, period, visit.gateway.ledger
        )
    except Unpriced:
        return None
    return None if found is None else _open(found, visit.now_at)


def _open(found: Comparison, now_at: float) -> Bookable | None:
    by_day = {day.period: open_causes(day) for day in ended_days(found, now_at)}
    nano: defaultdict[CauseName, int] = defaultdict(int)
    for causes in by_day.values():
        for name, amount in causes.items():
            nano[name] += amount
    if not nano:
        return None
    return Bookable(
        found=found,
        days=sum(bool(causes) for causes in by_day.values()),
        nano=dict(nano),
        stamp=hashlib.sha256(repr(by_day).encode()).hexdigest()[:16],
    )


async def booked(visit: Visit, what: Bookable, causes: Collection[CauseName]) -> int:
    """Books these causes; how many rows they are. Raises StorageUnavailable."""
    return await book(
        what.found,
        visit.gateway.ledger,
        now_at=visit.now_at,
        version=visit.gateway.active.policy.version,
        causes=causes,
    )
