"""The SQL of batches, which stores of every kind share: values in, statements out. ``{now}`` is the
store's clock, ``{skip}`` how rows are locked, where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.storage.batches.base import BatchesQuery, BatchState, FedLine, StoredBatch
from gateway.storage.jobs.base import WAITS_IN_STORE, NewJob
from gateway.storage.jobs.leases import renew as renew_leases
from gateway.storage.jobs.statements import UNTOLD
from gateway.storage.jobs.words import marks, us
from gateway.storage.outbox_statements import Statement
from gateway.storage.rows import encode_open

COLUMNS = (
    "id", "state", "caller", "key_id", "endpoint", "input_file", "within", "created_at",
    "deadline_at", "budget_nano", "begun_at", "canceling_at", "finalizing_at", "ended_at",
    "total", "fed_line", "fed_byte", "done", "failed", "cost_nano", "epoch", "output_file",
    "error_file", "why", "metadata", "request", "faults",
)  # fmt: skip
_COLUMNS = ", ".join(COLUMNS)
_ALIVE = "ended_at IS NULL"
_MINE = f"id = ? AND epoch = ? AND {_ALIVE}"
_OF_ONE_USER = 8
"""Batches that are worked at at once."""
_ENDED = "worker = '', lease_until = 0, ended_at = {now}"


def add(batch: StoredBatch) -> Statement:
    columns = (
        "id, state, caller, key_id, endpoint, input_file, within, created_at, deadline_at, "
        "budget_nano, metadata, request"
    )
    values = (
        *(batch.id, batch.state, batch.user, batch.key_id, batch.endpoint, batch.input_file),
        *(batch.within, us(batch.created_at), us(batch.deadline), batch.budget_nano),
        *(batch.metadata, batch.request),
    )
    return f"INSERT INTO batches ({columns}) VALUES ({marks(values)})", values  # noqa: S608


def get(id: str) -> Statement:
    return f"SELECT {_COLUMNS} FROM batches WHERE id = ?", (id,)  # noqa: S608


def find(query: BatchesQuery) -> Statement:
    where, values = ["TRUE"], list[Any]()
    if query.user is not None:
        where.append("caller = ?")
        values.append(query.user)
    if query.before is not None:
        where.append("number < (SELECT number FROM batches WHERE id = ?)")
        values.append(query.before)
    which = " AND ".join(where)
    sql = f"SELECT {_COLUMNS} FROM batches WHERE {which} ORDER BY number DESC LIMIT ?"  # noqa: S608
    return sql, (*values, query.most)


WITH_BUDGETS: Statement = (
    f"SELECT {_COLUMNS} FROM batches WHERE {_ALIVE} AND budget_nano IS NOT NULL",  # noqa: S608
    (),
)


def uses(file: str) -> Statement:
    return f"SELECT 1 FROM batches WHERE input_file = ? AND {_ALIVE} LIMIT 1", (file,)  # noqa: S608


def take(worker: str, most: int, lease_s: float) -> Statement:
    free = f"{_ALIVE} AND lease_until <= {{now}}"
    turn = (
        "SELECT number FROM (SELECT number, lease_until, "  # noqa: S608
        f"ROW_NUMBER() OVER (PARTITION BY caller ORDER BY number) AS turn FROM batches "
        f"WHERE {_ALIVE}) AS alive WHERE turn <= {_OF_ONE_USER} AND lease_until <= {{now}} "
        "ORDER BY turn, number LIMIT ?"
    )
    sql = (
        f"WITH found AS MATERIALIZED (SELECT number FROM batches WHERE number IN ({turn}) "  # noqa: S608
        f"AND {free}{{skip}}) UPDATE batches SET worker = ?, lease_until = {{now}} + ?, "
        f"epoch = epoch + 1 WHERE number IN (SELECT number FROM found) RETURNING {_COLUMNS}"
    )
    return sql, (most, worker, us(lease_s))


def renew(worker: str, ids: Sequence[str], lease_s: float) -> list[Statement]:
    """As jobs are."""
    return renew_leases(worker, ids, lease_s, "batches", "canceling_at")


def leave(id: str, epoch: int) -> Statement:
    sql = f"UPDATE batches SET worker = '', lease_until = 0 WHERE {_MINE} RETURNING id"  # noqa: S608
    return sql, (id, epoch)


def cancel(id: str) -> Statement:
    sql = (
        "UPDATE batches SET canceling_at = COALESCE(canceling_at, {now}) "  # noqa: S608
        f"WHERE id = ? AND {_ALIVE} RETURNING id"
    )
    return sql, (id,)


def begin(id: str, epoch: int, total: int) -> Statement:
    sql = (
        "UPDATE batches SET state = 'in_progress', begun_at = {now}, total = ? "  # noqa: S608
        f"WHERE {_MINE} AND state = 'validating' RETURNING id"
    )
    return sql, (total, id, epoch)


def refuse(id: str, epoch: int, faults: str) -> Statement:
    sql = (
        f"UPDATE batches SET state = 'failed', faults = ?, {_ENDED} "  # noqa: S608
        f"WHERE {_MINE} AND state = 'validating' RETURNING id"
    )
    return sql, (faults, id, epoch)


def explain(id: str, epoch: int, why: str) -> Statement:
    return f"UPDATE batches SET why = ? WHERE {_MINE} RETURNING id", (why, id, epoch)  # noqa: S608


def feed(
    id: str, epoch: int, batch: StoredBatch, fed: Sequence[FedLine], to: tuple[int, int]
) -> list[Statement]:
    """The first gives a row where it was done; the rest do nothing where it was not."""
    line, byte = to
    step = (
        f"UPDATE batches SET fed_line = ?, fed_byte = ? WHERE {_MINE} AND fed_line = ? "  # noqa: S608
        "AND fed_byte = ? AND state = 'in_progress' RETURNING id"
    )
    statements: list[Statement] = [(step, (line, byte, id, epoch, batch.fed_line, batch.fed_byte))]
    for one in fed:
        statements += _fed(id, epoch, one, to)
    return statements


_IS_FED = (
    "EXISTS (SELECT 1 FROM batches WHERE id = ? AND epoch = ? AND fed_line = ? AND fed_byte = ?)"
)
_JOB_TEXTS = ("id", "model", "task", "key_id", "caller", "digest", "webhook", "request", "batch")
_JOB_WHOLE = ("rank", "created_at", "deadline_at", "keep_us")


def _fed(id: str, epoch: int, line: FedLine, to: tuple[int, int]) -> list[Statement]:
    fed = (id, epoch, *to)
    statements: list[Statement] = []
    if line.job is not None and line.row is not None:
        entry = encode_open(line.row, WAITS_IN_STORE)
        opened = (
            f"INSERT INTO open_entries (id, owner, entry) SELECT {_cast('TEXT', 3)} "  # noqa: S608
            f"WHERE {_IS_FED} AND EXISTS (SELECT 1 FROM jobs WHERE id = ?) "
            "AND NOT EXISTS (SELECT 1 FROM entries WHERE id = ?) ON CONFLICT DO NOTHING"
        )
        statements.append(_job(id, line.job, fed))
        statements.append((opened, (*entry, *fed, line.job.id, line.job.id)))
    kept = (
        "INSERT INTO batch_lines (batch, custom_id, job, fault, line) SELECT "
        f"{_cast('TEXT', 4)}, {_cast('BIGINT', 1)} WHERE {_IS_FED} ON CONFLICT DO NOTHING"
    )
    job = "" if line.job is None else line.job.id
    statements.append((kept, (id, line.custom_id, job, line.fault, line.number, *fed)))
    return statements


def _job(batch: str, job: NewJob, fed: tuple[Any, ...]) -> Statement:
    texts = (job.id, job.model, job.task, job.key_id, job.user, job.digest, "", job.request, batch)
    whole = (job.rank, us(job.created_at), us(job.deadline), us(job.keep_s))
    sql = (
        f"INSERT INTO jobs ({', '.join((*_JOB_TEXTS, *_JOB_WHOLE))}, state, due_at) SELECT "
        f"{_cast('TEXT', len(texts))}, {_cast('BIGINT', len(whole))}, 'queued', {{now}} "
        f"WHERE {_IS_FED} ON CONFLICT DO NOTHING"
    )
    return sql, (*texts, *whole, *fed)


def _cast(kind: str, count: int) -> str:
    """As many values of a type that a server cannot see by itself."""
    return ", ".join([f"CAST(? AS {kind})"] * count)


def progress(id: str) -> list[Statement]:
    by_state = (
        "SELECT state, COUNT(*), CAST(SUM(cost_nano) AS BIGINT) FROM jobs WHERE batch = ? "
        "AND batch <> '' GROUP BY state"
    )
    refused = "SELECT COUNT(*) FROM batch_lines WHERE batch = ? AND job = ''"
    return [(by_state, (id,)), (refused, (id,))]


def waiting(id: str) -> Statement:
    sql = "SELECT COUNT(*) FROM jobs WHERE batch = ? AND batch <> '' AND state = 'queued'"
    return sql, (id,)


def committed(id: str) -> list[Statement]:
    """Of lines whose calls are open, of those that are settled while their jobs have not ended, and
    of those that have: in this order, so that whatever moves on meanwhile is seen."""
    alive = (
        "FROM jobs WHERE batch = ? AND batch <> '' AND state IN ('queued', 'starting', 'running')"
    )
    held = f"SELECT entry FROM open_entries WHERE id IN (SELECT id {alive})"  # noqa: S608
    settled = (
        "SELECT CAST(COALESCE(SUM(entries.cost_nano), 0) AS BIGINT) FROM "  # noqa: S608
        f"(SELECT id {alive}) AS line JOIN entries ON entries.id >= line.id "
        "AND entries.id < line.id || '$'"  # behind the '#' of its attempts
    )
    ended = (
        "SELECT CAST(COALESCE(SUM(cost_nano), 0) AS BIGINT) FROM jobs WHERE batch = ? "
        "AND batch <> '' AND state IN ('succeeded', 'failed', 'canceled', 'expired')"
    )
    return [(held, (id,)), (settled, (id,)), (ended, (id,))]


def stop_lines(id: str) -> Statement:
    sql = (
        "UPDATE jobs SET cancel = 1 WHERE batch = ? AND batch <> '' "
        "AND state IN ('queued', 'starting', 'running') AND cancel = 0"
    )
    return sql, (id,)


def finalize(id: str, epoch: int, why: str) -> Statement:
    sql = (
        "UPDATE batches SET state = 'finalizing', why = ?, "  # noqa: S608
        "finalizing_at = COALESCE(finalizing_at, {now}) "
        f"WHERE {_MINE} AND state IN ('in_progress', 'finalizing') RETURNING id"
    )
    return sql, (why, id, epoch)


def lines(id: str, after: int, most: int) -> Statement:
    sql = (
        "SELECT line, custom_id, fault, job, state, COALESCE(answer, ''), COALESCE(error, '') "
        "FROM batch_lines LEFT JOIN jobs ON jobs.id = batch_lines.job "
        "WHERE batch_lines.batch = ? AND line > ? ORDER BY line LIMIT ?"
    )
    return sql, (id, after, most)


def end(
    id: str,
    epoch: int,
    state: BatchState,
    files: tuple[str, str],
    counts: tuple[int, int],
    why: str,
) -> Statement:
    cost = "SELECT CAST(COALESCE(SUM(cost_nano), 0) AS BIGINT) FROM jobs WHERE batch = batches.id"
    sql = (
        "UPDATE batches SET state = ?, output_file = ?, error_file = ?, done = ?, failed = ?, "  # noqa: S608
        f"why = ?, cost_nano = ({cost} AND batch <> ''), {_ENDED} WHERE {_MINE} RETURNING id"
    )
    return sql, (state, *files, *counts, why, id, epoch)


def prune(forget_s: float, most: int) -> list[Statement]:
    """The first gives a row for each job that is gone."""
    over = (
        "SELECT jobs.id FROM jobs JOIN batches ON batches.id = jobs.batch WHERE jobs.batch <> '' "
        "AND batches.ended_at IS NOT NULL ORDER BY jobs.number LIMIT ?"
    )
    left = (
        "SELECT batch, line FROM batch_lines JOIN batches ON batches.id = batch_lines.batch "
        "WHERE batches.ended_at IS NOT NULL LIMIT ?"
    )
    return [
        (f"DELETE FROM job_events WHERE job IN ({over})", (most,)),  # noqa: S608
        (f"DELETE FROM jobs WHERE id IN ({over}) AND {UNTOLD} RETURNING id", (most,)),  # noqa: S608
        (f"DELETE FROM batch_lines WHERE (batch, line) IN ({left})", (most,)),  # noqa: S608
        (
            f"DELETE FROM batches WHERE ended_at < {{now}} - {us(forget_s)} AND NOT EXISTS "  # noqa: S608
            "(SELECT 1 FROM batch_lines WHERE batch = batches.id) AND NOT EXISTS "
            "(SELECT 1 FROM jobs WHERE jobs.batch = batches.id AND jobs.batch <> '')",
            (),
        ),
    ]
