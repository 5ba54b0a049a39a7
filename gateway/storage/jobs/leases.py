"""The SQL by which a worker finds the jobs that it may have, takes them, and keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gateway.storage.jobs.words import ALIVE, COLUMNS_TEXT, ENTRY, marks, us
from gateway.storage.outbox_statements import Statement

_FREE = f"{ALIVE} AND lease_until <= {{now}}"
_TAKEN_BY_OTHERS = 4
_SLICES = 15
"""Of the time until a deadline, each twice as long as the one before, from a minute on: the last
ends after eleven days."""

QUEUED: Statement = (
    f"SELECT model, COUNT(*) FROM jobs WHERE {ALIVE} AND state = 'queued' AND worker = '' "  # noqa: S608
    "AND due_at <= {now} "
    "GROUP BY model",
    (),
)


def waiting(full: Collection[str]) -> Statement:
    keys = sorted(full)
    others = f" AND key_id NOT IN ({marks(keys)})" if keys else ""
    left = "deadline_at - {now}"
    slices = " ".join(f"WHEN {left} < {us(60 * 2**n)} THEN {n}" for n in range(_SLICES))
    sql = (
        "SELECT model, COUNT(*), MIN(deadline_at), MAX(deadline_at) FROM jobs "  # noqa: S608
        f"WHERE {ALIVE} AND state = 'queued' AND worker = '' AND cancel = 0 "
        f"AND due_at <= {{now}} AND deadline_at > {{now}}{others} "
        f"GROUP BY model, CASE {slices} ELSE {_SLICES} END ORDER BY 3"
    )
    return sql, tuple(keys)


def take(
    worker: str,
    model: str,
    most: int,
    lease_s: float,
    full: Collection[str],
    least_rank: int,
    owed: Mapping[tuple[int, str], float],
) -> Statement:
    """Within a rank those whose key has had the least: ``owed``, what is on its way, and those of
    it that are chosen before. Of each key's line the head alone is read."""
    keys, owing = sorted(full), _padded(owed)
    # More than are wanted, as another gateway may be taking the first of them just now.
    values = (
        *(model, least_rank, model, least_rank, model, model),
        *(value for owes in owing for value in owes),
        *(*keys, model, most, _TAKEN_BY_OTHERS * most, most),
    )
    before = (
        f"{_KEYS_IN_LINE}, owing(rank, key_id, owed) AS ({_owing(len(owing))}), "
        f"heads AS ({_heads(len(keys))}), chosen AS MATERIALIZED ({_CHOSEN}), "
    )
    return _leased(before, _FOUND, values, worker, lease_s, "RECURSIVE ")


_LINE = f"{ALIVE} AND state = 'queued' AND worker = ''"
_KEYS_IN_LINE = (
    "ranks(rank) AS ("  # noqa: S608
    f"SELECT MAX(rank) FROM jobs WHERE {_LINE} AND model = ? AND rank >= ? "
    f"UNION ALL SELECT (SELECT MAX(rank) FROM jobs WHERE {_LINE} AND model = ? AND rank >= ? "
    "AND rank < ranks.rank) FROM ranks WHERE ranks.rank IS NOT NULL), "
    "lines(rank, key_id) AS ("
    f"SELECT ranks.rank, (SELECT MIN(key_id) FROM jobs WHERE {_LINE} AND model = ? "
    "AND jobs.rank = ranks.rank) FROM ranks WHERE ranks.rank IS NOT NULL "
    f"UNION ALL SELECT lines.rank, (SELECT MIN(key_id) FROM jobs WHERE {_LINE} AND model = ? "
    "AND jobs.rank = lines.rank AND jobs.key_id > lines.key_id) "
    "FROM lines WHERE lines.key_id IS NOT NULL)"
)
"""A step of an index for each rank and key, however many jobs they have."""
_CHOSEN = (
    "SELECT number, rank, turn FROM (SELECT line.number, heads.rank, "  # noqa: S608
    "COALESCE(owed, 0) + COALESCE(taken, 0) + ROW_NUMBER() "
    "OVER (PARTITION BY heads.key_id ORDER BY heads.rank DESC, line.number) AS turn "
    f"FROM heads {{each_of}}(SELECT jobs.number FROM jobs WHERE {_LINE} AND jobs.model = ? "
    "AND jobs.rank = heads.rank AND jobs.key_id = heads.key_id AND due_at <= {now} "
    "ORDER BY jobs.number LIMIT ?){each} "
    "LEFT JOIN (SELECT key_id, COUNT(*) AS taken FROM jobs WHERE ended_at IS NULL "
    "AND worker <> '' GROUP BY key_id) AS busy ON busy.key_id = heads.key_id "
    "LEFT JOIN owing ON owing.rank = heads.rank AND owing.key_id = heads.key_id"
    ") AS waiting ORDER BY rank DESC, turn, number LIMIT ?"
)
_FOUND = (
    "SELECT jobs.number FROM jobs JOIN chosen ON chosen.number = jobs.number "  # noqa: S608
    f"WHERE {_FREE} ORDER BY chosen.rank DESC, chosen.turn, chosen.number LIMIT ?{{skip}}"
)


_OWING = 8


def _padded(owed: Mapping[tuple[int, str], float]) -> list[tuple[int, str, float]]:
    """In as many rows as few statements have, which are then known to the server."""
    owing = [(*line, jobs) for line, jobs in owed.items()]
    room = _OWING
    while room < len(owing):
        room *= 4
    return [*owing, *[(0, "", 0.0)] * (room - len(owing))]


def _owing(lines: int) -> str:
    one = "(CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS DOUBLE PRECISION))"
    return f"VALUES {', '.join([one] * lines)}"


def _heads(full: int) -> str:
    others = f" AND key_id NOT IN ({', '.join('?' * full)})" if full else ""
    return f"SELECT rank, key_id FROM lines WHERE key_id IS NOT NULL{others}"  # noqa: S608


def take_over(worker: str, most: int, lease_s: float) -> Statement:
    mine = (
        f"SELECT number FROM jobs WHERE {ALIVE} AND worker <> '' AND lease_until <= {{now}} "  # noqa: S608
        f"UNION SELECT number FROM jobs WHERE {ALIVE} AND worker = '' "
        "AND (state <> 'queued' OR cancel = 1) "
        f"UNION SELECT number FROM jobs WHERE {ALIVE} AND worker = '' AND deadline_at > 0 "
        "AND deadline_at <= {now}"
    )
    found = (
        f"SELECT number FROM jobs WHERE number IN ({mine}) AND {_FREE} "  # noqa: S608
        "ORDER BY number LIMIT ?{skip}"
    )
    return _leased("", found, (most,), worker, lease_s)


def take_one(worker: str, id: str, lease_s: float) -> Statement:
    found = f"SELECT number FROM jobs WHERE id = ? AND {_FREE}{{skip}}"  # noqa: S608
    return _leased("", found, (id,), worker, lease_s)


def _leased(
    before: str, found: str, values: Sequence[Any], worker: str, lease_s: float, kind: str = ""
) -> Statement:
    """Who is faster has it: another one passes over a row that is locked, or taken meanwhile."""
    sql = (
        f"WITH {kind}{before}found AS MATERIALIZED ({found}) "  # noqa: S608
        "UPDATE jobs SET worker = ?, lease_until = {now} + ?, epoch = epoch + 1 "
        f"WHERE number IN (SELECT number FROM found) RETURNING {COLUMNS_TEXT}, {ENTRY}"
    )
    return sql, (*values, worker, us(lease_s))


def renew(
    worker: str, ids: Sequence[str], lease_s: float, table: str = "jobs", canceled: str = "cancel"
) -> list[Statement]:
    """The last gives those that are still the worker's, with what the column ``canceled`` says. One
    that is being written just now is left until the next time: to wait for it, with others locked,
    is how two writers wait for each other."""
    which, values = f"worker = ? AND {ALIVE} AND id IN ({marks(ids)})", (worker, *ids)
    free = f"SELECT number FROM {table} WHERE {which}{{skip}}"  # noqa: S608
    longer = (
        f"WITH found AS MATERIALIZED ({free}) UPDATE {table} SET lease_until = {{now}} + ? "  # noqa: S608
        "WHERE number IN (SELECT number FROM found)"
    )
    mine = f"SELECT id, {canceled} FROM {table} WHERE {which}"  # noqa: S608
    return [(longer, (*values, us(lease_s))), (mine, values)]
