"""The hours of committed capacity, booked: what no call used of them has rows of its own.

An hour is booked some minutes after its end, from what the ledger has of it by then; a call that
settles later makes the difference smaller, which is booked as another row, never as a change of
the first. What was missed while no gateway ran is booked by the next one. Where several gateways
share a ledger each may book: the names of the rows are the same, and a ledger takes each once.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator

from gateway.clock import Clock
from gateway.money.committed import HOUR_S, IDLE, bill, hours_of, idle_by_user
from gateway.money.text import iso
from gateway.policy.commitments import Commitment
from gateway.policy.model import Policy
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


class IdleBooks:
    """Books for the policy in force."""

    def __init__(self, *, policy: Callable[[], Policy], ledger: Ledger, clock: Clock) -> None:
        self._policy = policy
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
        by_backend: defaultdict[str, list[Commitment]] = defaultdict(list)
        for commitment in policy.commitments.values():
            by_backend[commitment.backend].append(commitment)
        back_s = _AGAIN_S if self._looked else _FIRST_S
        for backend, commitments in by_backend.items():
            begun = min(commitment.start for commitment in commitments)
            since = max(begun, now - back_s) // HOUR_S * HOUR_S
            await self._book(backend, commitments, since, now - _GRACE_S, policy.version)
        self._looked = True

    async def _book(
        self, backend: str, commitments: list[Commitment], since: int, until: int, version: str
    ) -> None:
        hours = tuple(hours_of(commitments, since, until))
        if not hours:
            return
        told = await self._told(backend, hours[0], hours[-1], "hour")
        booked = {name: nano for (name,), nano in told.items()}
        for hour in hours:
            missing = bill(commitments, hour, hour + HOUR_S) - booked.get(iso(hour, "minutes"), 0)
            if missing:
                await self._book_hour(backend, commitments, hour, missing, version)

    async def _book_hour(
        self, backend: str, commitments: list[Commitment], hour: int, missing: int, version: str
    ) -> None:
        told = await self._told(backend, hour, hour, "kind", "user")
        idle = {user: nano for (kind, user), nano in told.items() if kind == "idle"}
        charged: defaultdict[str, int] = defaultdict(int)
        for (kind, user), nano in told.items():
            if kind != "idle":
                charged[user] += nano
        rule = next(one for one in commitments if bill([one], hour, hour + HOUR_S))
        wanted = idle_by_user(rule, missing + sum(idle.values()), charged)
        parts = list(_differences(idle, wanted))
        name = await self._free_name(f"idle_{backend}_{iso(hour, 'minutes')}")
        rows = [
            self._row(f"{name}#{index}" if index else name, backend, hour, user, nano, version)
            for index, (user, nano) in enumerate(parts)
        ]
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            await self._ledger.settle(rows[start : start + _ROWS_AT_ONCE])

    async def _told(
        self, backend: str, first: int, last: int, *group_by: str
    ) -> dict[tuple[str, ...], int]:
        """Nano-dollars of all rows of the backend that began in these hours, by group."""
        query = UsageQuery(
            since=first, until=last + HOUR_S, group_by=group_by, where={"backend": backend}
        )
        rows = (await self._ledger.usage(query)).rows
        return {tuple(row.group[name] for name in group_by): row.cost_nano for row in rows}

    async def _free_name(self, hour: str) -> str:
        """The first row of an hour, or the correction that comes next."""
        number = 0
        while await self._ledger.rows(f"{hour}_{number}"):
            number += 1
        return f"{hour}_{number}"

    def _row(
        self, name: str, backend: str, hour: int, user: str, nano: int, version: str
    ) -> LedgerRow:
        return LedgerRow(
            id=name,
            kind="idle",
            outcome="success",
            started_at=hour,
            ended_at=self._clock.time(),
            key_id=IDLE,
            user=user,
            model="",
            task="idle",
            backend=backend,
            reason="idle",
            policy=version,
            cost_nano=nano,
            cost_basis="reported",
        )


def _differences(booked: dict[str, int], wanted: dict[str, int]) -> Iterator[tuple[str, int]]:
    """User -> what is still to be booked, the largest first."""
    users = booked.keys() | wanted.keys()
    parts = ((user, wanted.get(user, 0) - booked.get(user, 0)) for user in users)
    return iter(sorted((part for part in parts if part[1]), key=lambda part: (-part[1], part[0])))
