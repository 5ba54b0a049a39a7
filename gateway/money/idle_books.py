"""The hours of committed capacity, booked: what no call used of them has rows of its own.

An hour is booked some minutes after its end, from what the ledger has of it by then; a call that
settles later makes the difference smaller, which is booked as another row, never as a change of
the first. What was missed while no gateway ran is booked by the next one. Where several gateways
share a ledger each may book: the names of the rows are the same, and a ledger takes each once.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial

from gateway.clock import Clock
from gateway.money.committed import HOUR_S, IDLE, bill, hours_of, idle_by_user, split
from gateway.money.text import iso
from gateway.policy.model import Policy
from gateway.policy.sections.commitments import Commitment
from gateway.storage.base import Ledger, LedgerRow, StorageUnavailable
from gateway.storage.queries import UsageQuery

log = logging.getLogger("spillgate")

_GRACE_S = 300
"""After an hour's end, until most of its calls have settled."""
_EVERY_S = 600.0
_AGAIN_S = 3 * 86_400
"""So long an hour is looked at again, for calls that settle late."""
_FIRST_S = 400 * 86_400
"""How far back the first look of a gateway goes."""
_ROWS_AT_ONCE = 400
_OURS = ("idle", "committed")
"""Kind and reason of the rows that are booked here."""

Commitments = dict[str, Commitment]
"""By their names, of one backend."""


class IdleBooks:
    """Books for the policy in force."""

    def __init__(
        self,
        *,
        policy: Callable[[], Policy],
        ledger: Ledger,
        clock: Clock,
        rented: Callable[[], Mapping[str, Commitment]] = dict,
    ) -> None:
        """``rented``: what was rented by the hour, beside the policy's commitments."""
        self._policy = policy
        self._rented = rented
        self._ledger = ledger
        self._clock = clock
        self._looked = False

    async def run(self) -> None:
        """Books what has ended, every ten minutes, for ever."""
        while True:
            try:
                await self.book()
            except StorageUnavailable as unavailable:
                log.error("committed hours could not be booked: %s", unavailable)
            await self._clock.sleep(_EVERY_S)

    async def book(self) -> None:
        """Books every hour that has ended and is not booked as it should be. Raises
        StorageUnavailable."""
        policy, now = self._policy(), int(self._clock.time())
        by_backend: defaultdict[str, Commitments] = defaultdict(dict)
        for name, commitment in {**policy.commitments, **self._rented()}.items():
            by_backend[commitment.backend][name] = commitment
        back_s = _AGAIN_S if self._looked else _FIRST_S
        for backend, commitments in by_backend.items():
            begun = min(commitment.start for commitment in commitments.values())
            since = max(begun, now - back_s) // HOUR_S * HOUR_S
            await self._book(backend, commitments, since, now - _GRACE_S, policy.version)
        self._looked = True

    async def _book(
        self, backend: str, commitments: Commitments, since: int, until: int, version: str
    ) -> None:
        hours = tuple(hours_of(commitments.values(), since, until))
        if not hours:
            return
        told = await self._told(backend, hours[0], hours[-1], "hour", "kind")
        for hour in hours:
            name = iso(hour, "minutes")
            sums = [nano for (at, _), nano in told.items() if at == name]
            bills = _bills(commitments, hour)
            if (name, "idle") not in told or sum(sums) != sum(bills.values()):
                await self._book_hour(backend, commitments, hour, bills, version)

    async def _book_hour(
        self, backend: str, commitments: Commitments, hour: int, bills: dict[str, int], version: str
    ) -> None:
        """What was once booked as an hour's bill stays that, whatever the policy says later, and
        for whichever backend it was booked: only what calls used of it may still change."""
        names = [_name(commitment, hour, 0) for commitment in bills]
        first = [row for name in names for row in (await self._ledger.rows(name))[:1]]
        if any(row.backend != backend for row in first):
            return
        if first:
            bills = {row.model: row.hold_nano for row in first}
        told = await self._told(backend, hour, hour, "kind", "user", "reason")
        idle = {user: nano for (kind, user, why), nano in told.items() if (kind, why) == _OURS}
        if idle and not first:
            return  # another gateway has begun the hour since: the next look sees all of it
        charged: defaultdict[str, int] = defaultdict(int)
        for (kind, user, why), nano in told.items():
            if (kind, why) != _OURS:
                charged[user] += nano
        left = sum(bills.values()) - sum(charged.values())
        wanted = _wanted(commitments, bills, left, charged)
        parts = _differences(idle, wanted)
        if first and not parts:
            return
        rows = await self._rows(backend, hour, bills, parts, version, begins=not first)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            await self._ledger.settle(rows[start : start + _ROWS_AT_ONCE])

    async def _rows(
        self,
        backend: str,
        hour: int,
        bills: dict[str, int],
        parts: list[tuple[str, int]],
        version: str,
        *,
        begins: bool,
    ) -> list[LedgerRow]:
        """The first rows of an hour are one for each commitment, with what it costs as
        ``hold_nano``; who pays for it is in them and in those that follow."""
        row = partial(self._row, backend=backend, hour=hour, version=version)
        main = next(iter(bills))
        number = 0
        rows: list[LedgerRow] = []
        if begins:
            user, nano = parts[0] if parts else (IDLE, 0)
            parts = parts[1:]
            for commitment, bill_nano in bills.items():
                name = _name(commitment, hour, 0)
                paid = nano if commitment == main else 0
                rows.append(row(name, commitment, user, paid, hold_nano=bill_nano))
        else:
            number = 1
            while await self._ledger.rows(_name(main, hour, number)):
                number += 1
            user, nano = parts.pop(0)
            rows.append(row(_name(main, hour, number), main, user, nano))
        for index, (user, nano) in enumerate(parts, 1):
            rows.append(row(f"{_name(main, hour, number)}#{index}", main, user, nano))
        return rows

    async def _told(
        self, backend: str, first: int, last: int, *group_by: str
    ) -> dict[tuple[str, ...], int]:
        """Nano-dollars of all rows of the backend that began in these hours, by group; what was
        corrected by a platform's bill is beside the commitment's."""
        query = UsageQuery(
            since=first, until=last + HOUR_S, group_by=group_by, where={"backend": backend}
        )
        rows = (await self._ledger.usage(query)).rows
        return {
            tuple(row.group[name] for name in group_by): row.cost_nano
            for row in rows
            if row.group["kind"] != "correction"
        }

    def _row(
        self,
        name: str,
        commitment: str,
        user: str,
        nano: int,
        *,
        backend: str,
        hour: int,
        version: str,
        hold_nano: int = 0,
    ) -> LedgerRow:
        return LedgerRow(
            id=name,
            kind="idle",
            outcome="success",
            started_at=hour,
            ended_at=self._clock.time(),
            key_id=IDLE,
            user=user,
            model=commitment,
            task="idle",
            backend=backend,
            reason="committed",
            policy=version,
            hold_nano=hold_nano,
            cost_nano=nano,
            cost_basis="reported",
        )


def _name(commitment: str, hour: int, number: int) -> str:
    return f"idle_{commitment}_{iso(hour, 'minutes')}_{number}"


def _bills(commitments: Commitments, hour: int) -> dict[str, int]:
    """Commitment -> what it costs in the hour, of those that cost something."""
    each = {name: bill([one], hour, hour + HOUR_S) for name, one in commitments.items()}
    return {name: nano for name, nano in each.items() if nano}


def _wanted(
    commitments: Commitments, bills: dict[str, int], left: int, charged: Mapping[str, int]
) -> dict[str, int]:
    """User -> what he pays of the hour's idle part, each commitment's share of it by its rule."""
    shares = split(left, {name: Fraction(nano) for name, nano in bills.items()})
    wanted: defaultdict[str, int] = defaultdict(int)
    for name, nano in shares.items():
        rule = commitments.get(name)
        parts = {IDLE: nano} if rule is None else idle_by_user(rule, nano, charged)
        for user, part in parts.items():
            wanted[user] += part
    return wanted


def _differences(booked: Mapping[str, int], wanted: Mapping[str, int]) -> list[tuple[str, int]]:
    """User -> what is still to be booked, the largest first."""
    users = booked.keys() | wanted.keys()
    parts = ((user, wanted.get(user, 0) - booked.get(user, 0)) for user in users)
    return sorted((part for part in parts if part[1]), key=lambda part: (-part[1], part[0]))
