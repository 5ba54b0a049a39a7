"""Which gateways are alive, so that none settles what another one is still serving.

Each has a row with a number that it raises every few seconds. Who sees a number stand still for
the whole of a lease, while the server answers, takes that gateway's open rows: by no clock but its
own, so that neither a server that was down nor clocks that differ make a living gateway look dead.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.storage.jobs.base import WAITS_IN_STORE
from gateway.storage.postgres.connections import Connection

_BEAT = (
    "INSERT INTO owners (token) VALUES ($1) "
    "ON CONFLICT (token) DO UPDATE SET beat = owners.beat + 1, seen_at = now()"
)
_OTHERS = "SELECT token, beat FROM owners WHERE token NOT IN ($1, $2)"
# Whoever beats or opens a row at this moment has locked its row, and is passed over: it is alive.
_TAKE = """
WITH gone AS (
    SELECT token FROM owners
    WHERE (token, beat) IN (SELECT * FROM unnest($2::text[], $3::bigint[]))
    FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE open_entries SET owner = $1, taken = TRUE WHERE owner IN (SELECT token FROM gone)
)
DELETE FROM owners WHERE token IN (SELECT token FROM gone)
"""
_TAKEN = "SELECT entry FROM open_entries WHERE owner = $1 AND taken"
_LEFT = -1
"""The number of one that has ended in good order and left rows open."""
_LEAVE = """
WITH busy AS (
    UPDATE owners SET beat = -1 WHERE token = $1
    AND EXISTS (SELECT FROM open_entries WHERE owner = $1) RETURNING token
)
DELETE FROM owners WHERE token = $1 AND NOT EXISTS (SELECT FROM busy)
"""


class Heartbeats:
    """Of one gateway: ``token`` is its name in the rows that it opens."""

    def __init__(self, token: str, *, lease_s: float) -> None:
        self._token = token
        self._lease_s = lease_s
        self._seen: dict[str, tuple[int, float]] = {}
        """Token of another -> its number, and when that was first seen."""

    async def beat(self, connection: Connection) -> None:
        """Says that this gateway is alive. One that was taken for dead begins anew."""
        await connection.execute(_BEAT, self._token)

    async def take(self, connection: Connection, dead: Iterable[str], now: float) -> list[str]:
        """The open rows of gateways whose lease is over, or that are ``dead`` for certain, as
        texts; ``now``: by this machine's monotonic clock."""
        found: dict[str, int] = dict(await connection.fetch(_OTHERS, self._token, WAITS_IN_STORE))
        before = self._seen
        self._seen = {
            token: seen
            if (seen := before.get(token)) is not None and seen[0] == beat
            else (beat, now)
            for token, beat in found.items()
        }
        over = {
            token
            for token, (beat, since) in self._seen.items()
            if beat == _LEFT or now - since >= self._lease_s
        }
        gone = {token: beat for token, beat in found.items() if token in over.union(dead)}
        if gone:
            await connection.execute(_TAKE, self._token, [*gone], [*gone.values()])
        return [entry for (entry,) in await connection.fetch(_TAKEN, self._token)]

    async def leave(self, connection: Connection) -> None:
        """At the end: what is left open is free to be taken."""
        await connection.execute(_LEAVE, self._token)
