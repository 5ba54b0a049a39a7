"""The SQL of jobs, which stores of every kind share: values in, statements out.

As in the outbox, a ``?`` stands for a value, ``{now}`` for the store's clock and ``{skip}`` for how
rows are locked, where they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from gateway.storage.jobs.base import JobsQuery, NewJob
from gateway.storage.jobs.states import JobState, comes_from
from gateway.storage.outbox import Message
from gateway.storage.outbox_statements import Statement, put_where
from gateway.storage.rows import Encoded
from gateway.types import MICRO

LIGHT = (
    "id", "state", "model", "task", "key_id", "caller", "rank", "created_at", "deadline_at",
    "keep_us", "started_at", "ended_at", "epoch", "cancel", "cost_nano", "webhook",
    "attempt", "error",
)  # fmt: skip
"""What is read of a job that is listed."""
COLUMNS = (*LIGHT, "request", "answer")
_LIGHT, _COLUMNS = ", ".join(LIGHT), ", ".join(COLUMNS)
_ENTRY = "(SELECT entry FROM open_entries WHERE open_entries.id = jobs.id)"
_ALIVE = "ended_at IS NULL"
_FREE = f"{_ALIVE} AND lease_until <= {{now}}"
_WAITS = f"{_ALIVE} AND state = 'queued' AND batch = ''"
_NEW_TEXTS = "id, model, task, key_id, caller, idempotency, digest, webhook, request"
_NEW_WHOLE = "rank, created_at, deadline_at, keep_us"
_MINE = f"id = ? AND epoch = ? AND {_ALIVE}"
_BY_TURN = "rank DESC, turn, number"
_TAKEN_BY_OTHERS = 4
_TOLD = (
    "INSERT INTO job_events (job, at, kind, data) "
    "SELECT CAST(? AS TEXT), {now}, CAST(? AS TEXT), CAST(? AS TEXT) WHERE "
)
_IS_THERE = "EXISTS (SELECT 1 FROM jobs WHERE id = ?)"
_IN_STATE = "EXISTS (SELECT 1 FROM jobs WHERE id = ? AND epoch = ? AND state = ?)"


def us(seconds: float) -> int:
    """Seconds in microseconds, as the tables have them."""
    return round(seconds * MICRO)


def accept(job: NewJob, entry: Encoded) -> list[Statement]:
    """The last gives the job's id and digest, or those of the job that had its name before; nothing
    where its user's line is full."""
    texts = (
        *(job.id, job.model, job.task, job.key_id, job.user, job.idempotency or None),
        *(job.digest, job.webhook, job.request),
    )
    whole = (job.rank, us(job.created_at), us(job.deadline), us(job.keep_s))
    add = (
        f"INSERT INTO jobs ({_NEW_TEXTS}, {_NEW_WHOLE}, state, due_at) SELECT "  # noqa: S608
        f"{_cast(texts, 'TEXT')}, {_cast(whole, 'BIGINT')}, 'queued', {{now}} "
        f"WHERE (SELECT COUNT(*) FROM jobs WHERE caller = ? AND {_WAITS}) < ? "
        "ON CONFLICT DO NOTHING"
    )
    values = (*texts, *whole, job.user, job.most_waiting)
    opened = (
        "INSERT INTO open_entries (id, owner, entry) SELECT CAST(? AS TEXT), CAST(? AS TEXT), "
        "CAST(? AS TEXT) WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?) "
        "AND NOT EXISTS (SELECT 1 FROM entries WHERE id = ?) ON CONFLICT DO NOTHING"
    )
    known = "SELECT id, digest FROM jobs WHERE id = ? OR idempotency = ?"
    return [
        (add, values),
        (opened, (*entry, job.id, job.id)),
        (f"{_TOLD}{_IS_THERE}", _event(job.id, "queued", job.id)),
        (known, (job.id, job.idempotency)),
    ]


def _cast(values: Collection[object], kind: str) -> str:
    """As many values of a type that a server cannot see by itself."""
    return ", ".join([f"CAST(? AS {kind})"] * len(values))


def _event(id: str, state: str, *more: Any) -> tuple[Any, ...]:
    return (id, "state", f'{{"state":"{state}"}}', *more)


def named(idempotency: str) -> Statement:
    """Streams have names as well."""
    sql = (
        "SELECT id, digest FROM jobs WHERE idempotency = ? "
        "UNION ALL SELECT id, digest FROM kept_streams WHERE name = ?"
    )
    return sql, (idempotency, idempotency)


def get(id: str) -> Statement:
    return f"SELECT {_COLUMNS}, {_ENTRY} FROM jobs WHERE id = ?", (id,)  # noqa: S608


def find(query: JobsQuery) -> Statement:
    where, values = ["batch = ''"], list[Any]()
    if query.user is not None:
        where.append("caller = ?")
        values.append(query.user)
    if query.model is not None:
        where.append("model = ?")
        values.append(query.model)
    if query.states:
        where.append(f"state IN ({marks(query.states)})")
        values += query.states
    if query.before is not None:
        where.append("number < (SELECT number FROM jobs WHERE id = ?)")
        values.append(query.before)
    which = " AND ".join(where)
    sql = f"SELECT {_LIGHT} FROM jobs WHERE {which} ORDER BY number DESC LIMIT ?"  # noqa: S608
    return sql, (*values, query.most)


def ahead(id: str) -> Statement:
    sql = (
        "SELECT COUNT(*) FROM jobs AS other, jobs AS own WHERE own.id = ? "
        "AND other.model = own.model AND other.state = 'queued' AND other.ended_at IS NULL "
        "AND (other.rank > own.rank OR (other.rank = own.rank AND other.number < own.number))"
    )
    return sql, (id,)


QUEUED: Statement = (
    f"SELECT model, COUNT(*) FROM jobs WHERE {_FREE} AND state = 'queued' AND due_at <= {{now}} "  # noqa: S608
    "GROUP BY model",
    (),
)


def take(
    worker: str, model: str, most: int, lease_s: float, full: Collection[str], least_rank: int
) -> Statement:
    """Within a rank those whose key has the fewest on their way, as if each had its turn."""
    keys = sorted(full)
    others = f" AND jobs.key_id NOT IN ({marks(keys)})" if keys else ""
    turn = (
        "SELECT number, rank, COALESCE(taken, 0) + ROW_NUMBER() "  # noqa: S608
        "OVER (PARTITION BY jobs.key_id ORDER BY rank DESC, number) AS turn FROM jobs LEFT JOIN "
        "(SELECT key_id, COUNT(*) AS taken FROM jobs WHERE ended_at IS NULL AND worker <> '' "
        "GROUP BY key_id) AS busy ON busy.key_id = jobs.key_id "
        f"WHERE {_FREE} AND state = 'queued' AND model = ? AND due_at <= {{now}} "
        f"AND rank >= ?{others}"
    )
    # More than are wanted, as another gateway may be taking the first of them just now.
    chosen = f"SELECT * FROM ({turn}) AS waiting ORDER BY {_BY_TURN} LIMIT ?"  # noqa: S608
    found = (
        "SELECT jobs.number FROM jobs JOIN chosen ON chosen.number = jobs.number "  # noqa: S608
        f"WHERE {_FREE} ORDER BY chosen.rank DESC, chosen.turn, chosen.number LIMIT ?{{skip}}"
    )
    values = (model, least_rank, *keys, _TAKEN_BY_OTHERS * most, most)
    return _leased(f"chosen AS MATERIALIZED ({chosen}), ", found, values, worker, lease_s)


def take_over(worker: str, most: int, lease_s: float) -> Statement:
    turn = (
        f"SELECT number FROM jobs WHERE {_FREE} AND (state <> 'queued' OR worker <> '' "  # noqa: S608
        "OR cancel = 1 OR deadline_at <= {now}) ORDER BY number LIMIT ?"
    )
    return _lease(worker, lease_s, f"number IN ({turn})", (most,))


def take_one(worker: str, id: str, lease_s: float) -> Statement:
    return _lease(worker, lease_s, "id = ?", (id,))


def _lease(worker: str, lease_s: float, which: str, values: Sequence[Any]) -> Statement:
    found = f"SELECT number FROM jobs WHERE {which} AND {_FREE}{{skip}}"  # noqa: S608
    return _leased("", found, values, worker, lease_s)


def _leased(
    before: str, found: str, values: Sequence[Any], worker: str, lease_s: float
) -> Statement:
    """Who is faster has it: another one passes over a row that is locked, or taken meanwhile."""
    sql = (
        f"WITH {before}found AS MATERIALIZED ({found}) "  # noqa: S608
        "UPDATE jobs SET worker = ?, lease_until = {now} + ?, epoch = epoch + 1 "
        f"WHERE number IN (SELECT number FROM found) RETURNING {_COLUMNS}, {_ENTRY}"
    )
    return sql, (*values, worker, us(lease_s))


def renew(worker: str, ids: Sequence[str], lease_s: float) -> Statement:
    sql = (
        f"UPDATE jobs SET lease_until = {{now}} + ? WHERE worker = ? AND {_ALIVE} "  # noqa: S608
        f"AND id IN ({marks(ids)}) RETURNING id, cancel"
    )
    return sql, (us(lease_s), worker, *ids)


def move(id: str, epoch: int, to: JobState, attempt: str | None) -> list[Statement]:
    """The first gives a row where it was done."""
    sets, values = "state = ?", list[str]([to])
    if to != "queued":
        sets += ", started_at = COALESCE(started_at, {now})"
    if attempt is not None:
        sets += ", attempt = ?"
        values.append(attempt)
    before = (*comes_from(to), to)
    known = f"SELECT state FROM jobs WHERE {_MINE}"  # noqa: S608
    step = f"UPDATE jobs SET {sets} WHERE {_MINE} AND state IN ({marks(before)}) RETURNING id"  # noqa: S608
    return [
        (f"{_TOLD}EXISTS ({known} AND state <> ?)", (*_event(id, to), id, epoch, to)),
        (step, (*values, id, epoch, *before)),
    ]


def answer(id: str, epoch: int, text: str) -> Statement:
    return f"UPDATE jobs SET answer = ? WHERE {_MINE} RETURNING id", (text, id, epoch)  # noqa: S608


def put_back(id: str, epoch: int, pause_s: float, attempt: str, error: str) -> list[Statement]:
    known = f"SELECT state FROM jobs WHERE {_MINE} AND state <> 'queued'"  # noqa: S608
    back = (
        "UPDATE jobs SET state = 'queued', due_at = {now} + ?, attempt = ?, error = ?, "  # noqa: S608
        f"worker = '', lease_until = 0 WHERE {_MINE} RETURNING id"
    )
    return [
        (f"{_TOLD}EXISTS ({known})", (*_event(id, "queued"), id, epoch)),
        (back, (us(pause_s), attempt, error, id, epoch)),
    ]


def leave(id: str, epoch: int) -> Statement:
    return f"UPDATE jobs SET worker = '', lease_until = 0 WHERE {_MINE} RETURNING id", (id, epoch)  # noqa: S608


def end(
    id: str, epoch: int, state: JobState, ended_at: float, error: str, message: Message | None
) -> list[Statement]:
    """The first gives a row where the job has ended by this."""
    cost = f"SELECT COALESCE(SUM(cost_nano), 0) FROM entries WHERE {_OF_CALL}"  # noqa: S608
    step = (
        f"UPDATE jobs SET state = ?, ended_at = ?, error = ?, cost_nano = ({cost}), worker = '', "  # noqa: S608
        f"lease_until = 0, cancel = 0 WHERE {_MINE} AND state IN ({marks(comes_from(state))}) "
        "AND NOT EXISTS (SELECT 1 FROM open_entries WHERE open_entries.id = jobs.id) RETURNING id"
    )
    values = (state, us(ended_at), error, *_call(id), id, epoch, *comes_from(state))
    known = (id, epoch, state)
    told = (_TOLD + _IN_STATE, (*_event(id, state), *known))
    statements: list[Statement] = [(step, values), told]
    if message is not None:
        receiver = (
            "INSERT INTO endpoints (name, usage) SELECT CAST(? AS TEXT), 0 "
            f"WHERE {_IN_STATE} ON CONFLICT (name) DO NOTHING"
        )
        statements.append((receiver, (message.endpoint, *known)))
        statements.append(put_where(message, _IN_STATE, known))
    return statements


_OF_CALL = "entries.id = ? OR (entries.id > ? AND entries.id < ?)"


def _call(id: str) -> tuple[str, str, str]:
    # "$" follows "#": the bounds are those of the prefix, which an index serves.
    return id, f"{id}#", f"{id}$"


def cost(id: str) -> Statement:
    sql = f"SELECT COALESCE(SUM(cost_nano), 0) FROM entries WHERE {_OF_CALL}"  # noqa: S608
    return sql, _call(id)


def cancel(id: str) -> Statement:
    return f"UPDATE jobs SET cancel = 1 WHERE id = ? AND {_ALIVE} RETURNING id", (id,)  # noqa: S608


def note(id: str, kind: str, data: str) -> Statement:
    return f"{_TOLD}TRUE", (id, kind, data)


def events(id: str, after: int, most: int) -> Statement:
    sql = (
        "SELECT number, job, at, kind, data FROM job_events WHERE job = ? AND number > ? "
        "ORDER BY number LIMIT ?"
    )
    return sql, (id, after, most)


HOLDING: Statement = (
    "SELECT jobs.id, jobs.request, open_entries.entry FROM jobs JOIN open_entries "
    "ON open_entries.id = jobs.id WHERE ended_at IS NULL",
    (),
)


UNTOLD = "NOT EXISTS (SELECT 1 FROM job_events WHERE job_events.job = jobs.id)"
"""Of a job whose events are gone: a clock that moves between two statements leaves none behind."""


def prune(forget_s: float, most: int) -> list[Statement]:
    """The first and the last give a row for each that they have changed."""
    own = "SELECT id FROM jobs WHERE batch = '' AND "
    over = f"{own} ended_at + keep_us < {{now}} AND answer <> '' LIMIT ?"
    old = f"{own} ended_at < {{now}} - ? ORDER BY ended_at, id LIMIT ?"
    which = (us(forget_s), most)
    return [
        (f"UPDATE jobs SET answer = '' WHERE id IN ({over}) RETURNING id", (most,)),  # noqa: S608
        (f"DELETE FROM job_events WHERE job IN ({old})", which),  # noqa: S608
        (f"DELETE FROM jobs WHERE id IN ({old}) AND {UNTOLD} RETURNING id", which),  # noqa: S608
    ]


def marks(values: Collection[object]) -> str:
    """As many question marks."""
    return ", ".join("?" * len(values))
