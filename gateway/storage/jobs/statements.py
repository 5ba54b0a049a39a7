"""The SQL of jobs, which stores of every kind share: values in, statements out.

As in the outbox, a ``?`` stands for a value, ``{now}`` for the store's clock and ``{skip}`` for how
rows are locked, where they are.
"""

from __future__ import annotations

from typing import Any

from gateway.storage.jobs.base import JobsQuery, NewJob
from gateway.storage.jobs.states import JobState, comes_from
from gateway.storage.jobs.words import ALIVE, COLUMNS_TEXT, ENTRY, LIGHT_TEXT, cast, marks, us
from gateway.storage.outbox import Message
from gateway.storage.outbox_statements import Statement, put_where
from gateway.storage.rows import Encoded

_WAITS = f"{ALIVE} AND state = 'queued' AND batch = ''"
_NEW_TEXTS = "id, model, task, key_id, caller, idempotency, digest, webhook, request"
_NEW_WHOLE = "rank, created_at, deadline_at, keep_us"
_MINE = f"id = ? AND epoch = ? AND {ALIVE}"
_TOLD = (
    "INSERT INTO job_events (job, at, kind, data) "
    "SELECT CAST(? AS TEXT), {now}, CAST(? AS TEXT), CAST(? AS TEXT) WHERE "
)
_IS_THERE = "EXISTS (SELECT 1 FROM jobs WHERE id = ?)"
_SAID = "EXISTS (SELECT 1 FROM job_events WHERE job = ? AND kind = ? AND data = ?)"
"""An end whose answer was lost is said again."""
_IN_STATE = "EXISTS (SELECT 1 FROM jobs WHERE id = ? AND epoch = ? AND state = ?)"


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
        f"{cast(texts, 'TEXT')}, {cast(whole, 'BIGINT')}, 'queued', {{now}} "
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
    return f"SELECT {COLUMNS_TEXT}, {ENTRY} FROM jobs WHERE id = ?", (id,)  # noqa: S608


def glance(id: str) -> Statement:
    return f"SELECT {LIGHT_TEXT} FROM jobs WHERE id = ?", (id,)  # noqa: S608


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
    sql = f"SELECT {LIGHT_TEXT} FROM jobs WHERE {which} ORDER BY number DESC LIMIT ?"  # noqa: S608
    return sql, (*values, query.most)


def ahead(id: str) -> Statement:
    sql = (
        "SELECT COUNT(*) FROM jobs AS other, jobs AS own WHERE own.id = ? "
        "AND other.model = own.model AND other.state = 'queued' AND other.ended_at IS NULL "
        "AND (other.rank > own.rank OR (other.rank = own.rank AND other.number < own.number))"
    )
    return sql, (id,)


def move(id: str, epoch: int, to: JobState, attempt: str | None) -> list[Statement]:
    """The first gives a row where it was done; what comes late, of a job put back, is not."""
    sets, values = "state = ?", list[str]([to])
    if to != "queued":
        sets += ", started_at = COALESCE(started_at, {now})"
    if attempt is not None:
        sets += ", attempt = ?"
        values.append(attempt)
    before = (*comes_from(to), to)
    mine = f"{_MINE} AND worker <> ''"
    known = f"SELECT state FROM jobs WHERE {mine}"  # noqa: S608
    step = (
        f"UPDATE jobs SET {sets} WHERE {mine} AND state IN ({marks(before)}) RETURNING started_at"  # noqa: S608
    )
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
    told = (f"{_TOLD}{_IN_STATE} AND NOT {_SAID}", (*_event(id, state), *known, *_event(id, state)))
    statements: list[Statement] = [(step, values), told]
    if message is not None:
        receiver = (
            "INSERT INTO endpoints (name, usage) SELECT CAST(? AS TEXT), 0 "
            f"WHERE {_IN_STATE} ON CONFLICT (name) DO UPDATE SET usage = endpoints.usage"
        )
        statements.append((receiver, (message.endpoint, *known)))
        statements.append(put_where(message, _IN_STATE, known))
    return statements


_OF_CALL = "entries.id >= ? AND entries.id < ?"


def _call(id: str) -> tuple[str, str]:
    # "$" follows the "#" of its attempts: one step of an index finds it and them.
    return id, f"{id}$"


def cost(id: str) -> Statement:
    sql = f"SELECT COALESCE(SUM(cost_nano), 0) FROM entries WHERE {_OF_CALL}"  # noqa: S608
    return sql, _call(id)


def cancel(id: str) -> Statement:
    return f"UPDATE jobs SET cancel = 1 WHERE id = ? AND {ALIVE} RETURNING id", (id,)  # noqa: S608


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
