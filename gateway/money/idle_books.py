"""The hours of committed capacity, booked: what no call used of them has rows of its own.

An hour is booked some minutes after its end, from what the ledger has of it by then; a call that
settles later makes the difference smaller, which is booked as another row, never as a change of
the first. What was missed while no gateway ran is booked by the next one. Where several gateways
share a ledger each may book: the names of the rows are the same, and a ledger takes each once.
What was rented one gateway alone knows of: it adds its own to the hour, whose bill is then that of
all that the ledger has of it. Whoever has written looks again, until nothing lacks: of gateways
that book one hour at the same time, in whatever order, the last one leaves it right.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import NamedTuple

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
_LOOKS = 10
"""At one hour; what lacks after them, for others write all the time, waits for the next time."""
_ROWS_AT_ONCE = 400
_OURS = ("idle", "committed")
"""Kind and reason of the rows that are booked here."""
_GROUPS = ("kind", "reason", "model")

Commitments = dict[str, Commitment]
"""By their names, of one backend."""


class _Look(NamedTuple):
    """What is to be booked of one backend."""

    backend: str
    commitments: Commitments
    rented: frozenset[str]
    """Those of them that no other gateway knows of."""
    version: str
    """Of the policy."""


class IdleBooks:
    """Books for the policy in force."""

    def __init__(
        self,
        *,
        policy: Callable[[], Policy],
        ledger: Ledger,
        clock: Clock,
        rented: Callable[[], Mapping[str, Commitment] | None] = dict,
    ) -> None:
        """``rented``: what was rented by the hour, beside the policy's commitments; None: nobody
        knows yet."""
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
        known = self._rented()
        rented = known or {}
        by_backend: defaultdict[str, Commitments] = defaultdict(dict)
        for name, commitment in {**policy.commitments, **rented}.items():
            by_backend[commitment.backend][name] = commitment
        back_s = _AGAIN_S if self._looked else _FIRST_S
        for backend, commitments in by_backend.items():
            begun = min(commitment.start for commitment in commitments.values())
            since = max(begun, now - back_s) // HOUR_S * HOUR_S
            look = _Look(backend, commitments, frozenset(rented), policy.version)
            await self._book(look, since, now - _GRACE_S)
        self._looked = self._looked or known is not None

    async def _book(self, look: _Look, since: int, until: int) -> None:
        hours = tuple(hours_of(look.commitments.values(), since, until))
        if not hours:
            return
        by_hour: defaultdict[str, dict[tuple[str, ...], int]] = defaultdict(dict)
        told = await self._told(look.backend, hours[0], hours[-1], "hour", *_GROUPS)
        for (at, *group), nano in told.items():
            by_hour[at][tuple(group)] = nano
        for hour in hours:
            here = by_hour[iso(hour, "minutes")]
            bills, names = _bills(look.commitments, hour), _booked(here)
            spent = sum(here.values())
            if names != bills.keys() or spent != sum(bills.values()):
                await self._book_hour(look, hour, bills, names, spent)

    async def _book_hour(
        self, look: _Look, hour: int, own: dict[str, int], names: set[str], spent: int | None
    ) -> None:
        """What was once booked as an hour's bill stays that, whatever the policy says later, and
        for whichever backend it was booked: only what calls used of it may still change, and
        what was rented joins it. ``names``: the commitments that have rows in the hour."""
        for _ in range(_LOOKS):
            first = await self._first(hour, own.keys() | names)
            begun = {
                name: row.hold_nano for name, row in first.items() if row.backend == look.backend
            }
            begins = {
                name: nano
                for name, nano in own.items()
                if name not in first and (name in look.rented or not first)
            }
            bills = begun | begins
            if not begins and spent == sum(bills.values()):
                return
            # Before what is booked: what another books after this has the same name, and is ours.
            number = 0 if begins or not bills else await self._free_number(min(bills), hour)
            told = await self._told(look.backend, hour, hour, "user", *_GROUPS)
            names, spent = _booked(group for _, *group in told), None
            if names != begun.keys():
                continue  # another gateway has begun since
            parts = _lacking(look.commitments, bills, told)
            if not begins and not parts:
                return
            rows = self._rows(look, hour, begins or bills, parts, number)
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                await self._ledger.settle(rows[start : start + _ROWS_AT_ONCE])

    async def _first(self, hour: int, names: Iterable[str]) -> dict[str, LedgerRow]:
        """Commitment -> the row with which it began in the hour, of those that have."""
        found = {name: await self._ledger.rows(_name(name, hour, 0)) for name in sorted(names)}
        return {name: rows[0] for name, rows in found.items() if rows}

    def _rows(
        self,
        look: _Look,
        hour: int,
        bills: dict[str, int],
        parts: list[tuple[str, int]],
        number: int,
    ) -> list[LedgerRow]:
        """The first rows of an hour are one for each commitment, with what it costs as
        ``hold_nano``; who pays for it is in them and in those that follow."""
        row = partial(self._row, backend=look.backend, hour=hour, version=look.version)
        main = min(bills)
        rows: list[LedgerRow] = []
        if not number:
            user, nano = parts[0] if parts else (IDLE, 0)
            parts = parts[1:]
            for commitment, bill_nano in bills.items():
                name = _name(commitment, hour, 0)
                paid = nano if commitment == main else 0
                rows.append(row(name, commitment, user, paid, hold_nano=bill_nano))
        else:
            user, nano = parts.pop(0)
            rows.append(row(_name(main, hour, number), main, user, nano))
        for index, (user, nano) in enumerate(parts, 1):
            rows.append(row(f"{_name(main, hour, number)}#{index}", main, user, nano))
        return rows

    async def _free_number(self, commitment: str, hour: int) -> int:
        number = 1
        while await self._ledger.rows(_name(commitment, hour, number)):
            number += 1
        return number

    async def _told(
        self, backend: str, first: int, last: int, *group_by: str
    ) -> dict[tuple[str, ...], int]:
        """Nano-dollars of all rows of the backend that began in these hours, by group; what was
        corrected by a platform's bill is beside the commitment's."""
        query = UsageQuery(
            since=first,
            until=last + HOUR_S,
            group_by=group_by,
            where={"backend": backend},
            every_group=True,
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


def _booked(told: Iterable[Sequence[str]]) -> set[str]:
    """The commitments that have rows, of groups by kind, reason and model."""
    return {model for kind, why, model in told if (kind, why) == _OURS}


def _lacking(
    commitments: Commitments, bills: dict[str, int], told: Mapping[tuple[str, ...], int]
) -> list[tuple[str, int]]:
    """User -> what is still to be booked, where ``told`` is in the ledger."""
    idle: defaultdict[str, int] = defaultdict(int)
    charged: defaultdict[str, int] = defaultdict(int)
    for (user, kind, why, _), nano in told.items():
        (idle if (kind, why) == _OURS else charged)[user] += nano
    left = sum(bills.values()) - sum(charged.values())
    return _differences(idle, _wanted(commitments, bills, left, charged))


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
