"""Statements out, rows in: what each store in the ledger's database does, and the outbox there."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.storage import outbox_statements as statements
from gateway.storage.outbox import (
    Attempted,
    Delivery,
    EndpointState,
    Make,
    Message,
    ToldOnce,
)
from gateway.storage.outbox_statements import Statement
from gateway.storage.rows import decode_settled
from gateway.types import MICRO

log = logging.getLogger("spillgate")

_MARKS_AT_ONCE = 64
_LONGEST_US = 86_400 * MICRO
"""No call takes longer: one that ended in a time began no sooner before it."""
Rows = list[Sequence[Any]]


class RunsStatements(Protocol):
    """A connection of the outbox's own to the ledger's database."""

    async def run(self, batch: Sequence[Statement], *, apart: bool = False) -> list[Rows]:
        """The rows of each, in one transaction; ``apart``: which waits for no other of this
        gateway's, where the store has several at a time. Raises StorageUnavailable, and then
        nothing was done, or nobody knows."""
        ...

    async def aclose(self) -> None: ...


class SqlTables:
    """Some tables of the ledger's database, over a connection of their own."""

    def __init__(self, connection: RunsStatements) -> None:
        self._connection = connection

    async def _one(self, statement: Statement) -> Rows:
        [rows] = await self._connection.run([statement])
        return rows

    async def _done(self, statement: Statement) -> bool:
        return bool(await self._one(statement))

    async def aclose(self) -> None:
        await self._connection.aclose()


class SqlOutbox(SqlTables):
    """An ``Outbox`` over a connection.

    ``rows_at_once``  that one transaction notes of a past time, or drops: some milliseconds.
    """

    def __init__(self, connection: RunsStatements, *, rows_at_once: int = 2_000) -> None:
        super().__init__(connection)
        self._rows_at_once = rows_at_once

    async def subscribe(self, endpoints: Mapping[str, bool]) -> None:
        await self._connection.run(statements.subscribe(endpoints))

    async def put(self, messages: Sequence[Message]) -> None:
        if messages:
            await self._connection.run(statements.put(messages))

    async def gather(self, endpoint: str, most: int, batch: int, make: Make) -> int:
        found = await self._one(statements.noted(endpoint, most))
        if not found:
            return 0
        kept = [(number, decode_settled(tuple(entry))) for number, _, *entry in found if entry[0]]
        groups = [kept[at : at + batch] for at in range(0, len(kept), batch)]
        messages = [
            (make([row for _, row in group]), [number for number, _ in group]) for group in groups
        ]
        numbers = [number for number, *_ in found]
        done = await self._connection.run(statements.gathered(endpoint, messages, numbers))
        if len(kept) < len(found):
            log.error(
                "webhook %s: %d rows had left the ledger before they were told",
                endpoint,
                len(found) - len(kept),
            )
        return len(done[-1])

    async def take(self, endpoint: str, most: int, lease_s: float) -> list[Message]:
        found = await self._one(statements.take(endpoint, most, round(lease_s * MICRO)))
        return [
            Message(
                id=id,
                endpoint=name,
                topic=topic,
                url=url,
                body=body,
                made_at=made_at / MICRO,
                attempts=attempts,
            )
            for _, id, name, topic, url, body, made_at, attempts in sorted(found, key=_number)
        ]

    async def mark(self, attempted: Sequence[Attempted]) -> None:
        for start in range(0, len(attempted), _MARKS_AT_ONCE):
            part = attempted[start : start + _MARKS_AT_ONCE]
            await self._connection.run(statements.mark(part))

    async def tell(self, fact: ToldOnce, messages: Sequence[Message]) -> bool:
        return bool((await self._connection.run(statements.tell(fact, messages)))[-1])

    async def states(self) -> list[EndpointState]:
        return [_state(row) for row in await self._one((statements.STATES, ()))]

    async def due(self) -> set[str]:
        return {name for (name,) in await self._one((statements.DUE, ()))}

    async def disable(self, endpoint: str) -> bool:
        return bool(await self._one(statements.disable(endpoint)))

    async def enable(self, endpoint: str) -> bool:
        found = await self._one(statements.disabled(endpoint))
        if not found:
            return False
        since_us, now_us = found[0]
        await self._connection.run(statements.enable(endpoint))
        if since_us is not None:
            await self._note(endpoint, since_us - _LONGEST_US, now_us + _LONGEST_US, since_us)
        return True

    async def disabled_at(self, endpoint: str) -> float | None:
        found = await self._one(statements.disabled(endpoint))
        return None if not found or found[0][0] is None else found[0][0] / MICRO

    async def redeliver(self, endpoint: str, id: str) -> bool:
        return bool(await self._one(statements.redeliver(endpoint, id)))

    async def usage_again(self, endpoint: str, since: float, until: float) -> int:
        return await self._note(endpoint, round(since * MICRO), round(until * MICRO), 0)

    async def _note(self, endpoint: str, since_us: int, until_us: int, ended_us: int) -> int:
        """In short transactions, for calls write to the same store."""
        noted = 0
        while since_us < until_us:
            found = await self._one(statements.part_of(since_us, until_us, self._rows_at_once))
            end_us = max(found[0][0], since_us + 1) if found else until_us
            statement = statements.note(endpoint, since_us, end_us, ended_us)
            noted += len(await self._one(statement))
            since_us = end_us
        return noted

    async def deliveries(self, endpoint: str, most: int, id: str = "") -> list[Delivery]:
        return [
            Delivery(
                id=message,
                endpoint=name,
                topic=topic,
                attempt=attempt,
                at=at / MICRO,
                took_s=took_us / MICRO,
                status=status,
                error=error,
            )
            for message, name, topic, attempt, at, took_us, status, error in await self._one(
                statements.deliveries(endpoint, most, id)
            )
        ]

    async def prune(self, keep_s: float, most_deliveries: int) -> dict[str, int]:
        most, dropped = self._rows_at_once, Counter[str]()
        batch = statements.prune(round(keep_s * MICRO), most_deliveries, most)
        while True:
            messages, rows, *_ = await self._connection.run(batch)
            dropped.update(endpoint for (endpoint,) in [*messages, *rows])
            if max(len(messages), len(rows)) < most:
                return dict(dropped)


def _number(row: Sequence[Any]) -> int:
    return int(row[0])


def _state(row: Sequence[Any]) -> EndpointState:
    name, usage, waiting, oldest_message, oldest_row, failing_since, disabled_at, now, due = row
    oldest = [made_at for made_at in (oldest_message, oldest_row) if made_at is not None]
    return EndpointState(
        name=name,
        usage=bool(usage),
        waiting=waiting,
        oldest_s=max(0, now - min(oldest)) / MICRO if oldest else 0.0,
        failing_s=None if failing_since is None else (now - failing_since) / MICRO,
        disabled_at=None if disabled_at is None else disabled_at / MICRO,
        due=bool(due),
    )
