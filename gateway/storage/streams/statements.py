"""The SQL of kept streams, which stores of every kind share: values in, statements out.

As in the outbox, a ``?`` stands for a value and ``{now}`` for the store's clock.
"""

from __future__ import annotations

from gateway.storage.outbox_statements import Statement
from gateway.storage.streams.base import NewStream, StreamState
from gateway.types import MICRO

_PIECES_AT_ONCE = 4
_OURS = "id = ? AND state = 'running' AND lease_until > {now}"


def us(seconds: float) -> int:
    """Seconds in microseconds, as the tables have them."""
    return round(seconds * MICRO)


def claim(new: NewStream) -> list[Statement]:
    """The last gives who has the name: id, digest and whether it is a stream; or nothing."""
    add = (
        "INSERT INTO kept_streams (id, name, digest, caller, state, keep_until, lease_until) "
        "SELECT CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), 'running', "
        "{now} + CAST(? AS BIGINT), {now} + CAST(? AS BIGINT) "
        "WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE idempotency = ?) "
        "AND (SELECT COALESCE(SUM(size), 0) FROM kept_streams WHERE caller = ?) < ? "
        "ON CONFLICT DO NOTHING"
    )
    values = (
        *(new.id, new.name, new.digest, new.user, us(new.keep_s), us(new.lease_s)),
        *(new.name, new.user, new.most_bytes),
    )
    known = (
        "SELECT id, digest, 1 FROM kept_streams WHERE name = ? "
        "UNION ALL SELECT id, digest, 0 FROM jobs WHERE idempotency = ?"
    )
    return [(add, values), (known, (new.name, new.name))]


def keep(
    id: str, at: int, data: str, size: int, head: str, lease_s: float, state: StreamState
) -> list[Statement]:
    """The last gives a row where the stream is still its writer's. ``size``: of all of it."""
    piece = (
        "INSERT INTO kept_pieces (stream, number, data) SELECT id, CAST(? AS BIGINT), "  # noqa: S608
        f"CAST(? AS TEXT) FROM kept_streams WHERE {_OURS} ON CONFLICT DO NOTHING"
    )
    step = (
        "UPDATE kept_streams SET size = ?, head = ?, state = ?, lease_until = {now} + ? "  # noqa: S608
        f"WHERE {_OURS} RETURNING id"
    )
    added: list[Statement] = [(piece, (at, data, id))] if data else []
    return [*added, (step, (size, head, state, us(lease_s), id))]


def drop_pieces(id: str) -> Statement:
    return "DELETE FROM kept_pieces WHERE stream = ?", (id,)


def forget(id: str) -> list[Statement]:
    return [drop_pieces(id), ("DELETE FROM kept_streams WHERE id = ?", (id,))]


def read(id: str, at: int) -> list[Statement]:
    """Its state first: what has ended has all its pieces."""
    state = (
        "SELECT CASE WHEN state = 'running' AND lease_until <= {now} THEN 'cut' ELSE state END, "
        "head FROM kept_streams WHERE id = ?"
    )
    pieces = "SELECT data FROM kept_pieces WHERE stream = ? AND number >= ? ORDER BY number LIMIT ?"
    return [(state, (id,)), (pieces, (id, at, _PIECES_AT_ONCE))]


def prune(most: int) -> list[Statement]:
    """The last gives a row for each that is gone."""
    over = "SELECT id FROM kept_streams WHERE keep_until < {now} ORDER BY keep_until, id LIMIT ?"
    return [
        (f"DELETE FROM kept_pieces WHERE stream IN ({over})", (most,)),  # noqa: S608
        (
            f"DELETE FROM kept_streams WHERE id IN ({over}) AND NOT EXISTS (SELECT 1 "  # noqa: S608
            "FROM kept_pieces WHERE stream = kept_streams.id) RETURNING id",
            (most,),
        ),
    ]
