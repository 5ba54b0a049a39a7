"""The SQL of jobs, which stores of every kind share: values in, statements out.

As in the outbox, a ``?`` stands for a value, ``{now}`` for the store's clock and ``{skip}`` for how
rows are locked, where they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
_TAKEN_BY_OTHERS = 4
_SLICES = 15
"""Of the time until a deadline, each twice as long as the one before, from a minute on: the last
ends after eleven days."""
_TOLD = (
    "INSERT INTO job_events (job, at, kind, data) "
    "SELECT CAST(? AS TEXT), {now}, CAST(? AS TEXT), CAST(? AS TEXT) WHERE "
)
_IS_THERE = "EXISTS (SELECT 1 FROM jobs WHERE id = ?)"
_SAID = "EXISTS (SELECT 1 FROM job_events WHERE job = ? AND kind = ? AND data = ?)"
"""An end whose answer was lost is said again."""
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


def cast(values: Collection[object], kind: str) -> str:
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


def glance(id: str) -> Statement:
    return f"SELECT {_LIGHT} FROM jobs WHERE id = ?", (id,)  # noqa: S608


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
    f"SELECT model, COUNT(*) FROM jobs WHERE {_ALIVE} AND state = 'queued' AND worker = '' "  # noqa: S608
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
        f"WHERE {_ALIVE} AND state = 'queued' AND worker = '' AND cancel = 0 "
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


_LINE = f"{_ALIVE} AND state = 'queued' AND worker = ''"
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
        f"SELECT number FROM jobs WHERE {_ALIVE} AND worker <> '' AND lease_until <= {{now}} "  # noqa: S608
        f"UNION SELECT number FROM jobs WHERE {_ALIVE} AND worker = '' "
        "AND (state <> 'queued' OR cancel = 1) "
        f"UNION SELECT number FROM jobs WHERE {_ALIVE} AND worker = '' AND deadline_at > 0 "
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
        f"WHERE number IN (SELECT number FROM found) RETURNING {_COLUMNS}, {_ENTRY}"
    )
    return sql, (*values, worker, us(lease_s))


def renew(
    worker: str, ids: Sequence[str], lease_s: float, table: str = "jobs", canceled: str = "cancel"
) -> list[Statement]:
    """The last gives those that are still the worker's, with what the column ``canceled`` says. One
    that is being written just now is left until the next time: to wait for it, with others locked,
    is how two writers wait for each other."""
    which, values = f"worker = ? AND {_ALIVE} AND id IN ({marks(ids)})", (worker, *ids)
    free = f"SELECT number FROM {table} WHERE {which}{{skip}}"  # noqa: S608
    longer = (
        f"WITH found AS MATERIALIZED ({free}) UPDATE {table} SET lease_until = {{now}} + ? "  # noqa: S608
        "WHERE number IN (SELECT number FROM found)"
    )
    mine = f"SELECT id, {canceled} FROM {table} WHERE {which}"  # noqa: S608
    return [(longer, (*values, us(lease_s))), (mine, values)]


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
