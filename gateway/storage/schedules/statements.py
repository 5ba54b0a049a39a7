"""The SQL of schedules, which stores of every kind share: values in, statements out. ``{now}`` is
the store's clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.storage.batches.base import StoredBatch
from gateway.storage.jobs.base import WAITS_IN_STORE, NewJob
from gateway.storage.jobs.words import cast, us
from gateway.storage.outbox_statements import Statement
from gateway.storage.rows import encode_open
from gateway.storage.schedules.base import NewWork, ScheduledRun, Timetable

COLUMNS = ("name", "cron", "zone", "place", "changed_at", "epoch", "why")
_COLUMNS = ", ".join(COLUMNS)
_MINE = "name = ? AND epoch = ?"
_MOVED = "EXISTS (SELECT 1 FROM schedules WHERE name = ? AND epoch = ? AND place = ?)"
_LINE_FULL = "its user has as many jobs waiting as may"
ALL: Statement = (f"SELECT {_COLUMNS} FROM schedules ORDER BY name", ())  # noqa: S608


def add(name: str, timetable: Timetable, since: float) -> Statement:
    sql = (
        "INSERT INTO schedules (name, cron, zone, place, changed_at) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING"
    )
    return sql, (name, timetable.cron, timetable.zone, us(since), us(since))


def take(name: str, worker: str, lease_s: float) -> Statement:
    sql = (
        "UPDATE schedules SET worker = ?, lease_until = {now} + ?, epoch = epoch + 1 "  # noqa: S608
        f"WHERE name = ? AND lease_until <= {{now}} RETURNING {_COLUMNS}"
    )
    return sql, (worker, us(lease_s), name)


def renew(name: str, epoch: int, lease_s: float) -> Statement:
    sql = (
        "UPDATE schedules SET lease_until = {now} + ? "  # noqa: S608
        f"WHERE {_MINE} AND worker <> '' RETURNING name"
    )
    return sql, (us(lease_s), name, epoch)


def leave(name: str, epoch: int) -> Statement:
    sql = f"UPDATE schedules SET worker = '', lease_until = 0 WHERE {_MINE} RETURNING name"  # noqa: S608
    return sql, (name, epoch)


def decide(name: str, epoch: int, run: ScheduledRun, work: NewWork | None) -> list[Statement]:
    """The first gives a row where it was done. What is begun is what the instant's run says, which
    is written once: the rest does nothing where the step was done before, or is not ours."""
    at = us(run.instant)
    step = f"UPDATE schedules SET place = ?, why = '' WHERE {_MINE} AND place < ? RETURNING name"  # noqa: S608
    statements: list[Statement] = [(step, (at, name, epoch, at)), _run(run, (name, epoch, at))]
    if work is None:
        return statements
    decided = (name, at, work.id)
    if work.job is not None and work.row is not None:
        statements.append(_job(work.job, decided))
        entry = encode_open(work.row, WAITS_IN_STORE)
        statements += [_opened(entry, work.job.id), _told(work.job.id), _no_room(decided)]
    if work.batch is not None:
        statements.append(_batch(work.batch, decided))
    return statements


_DECIDED = "EXISTS (SELECT 1 FROM schedule_runs WHERE schedule = ? AND instant = ? AND work = ?)"
_JOB_TEXTS = ("id", "model", "task", "key_id", "caller", "digest", "webhook", "request")
_JOB_WHOLE = ("rank", "created_at", "deadline_at", "keep_us")
_IS_JOB = "EXISTS (SELECT 1 FROM jobs WHERE id = ?)"


def _job(job: NewJob, decided: tuple[Any, ...]) -> Statement:
    texts = (
        *(job.id, job.model, job.task, job.key_id, job.user),
        *(job.digest, job.webhook, job.request),
    )
    whole = (job.rank, us(job.created_at), us(job.deadline), us(job.keep_s))
    sql = (
        f"INSERT INTO jobs ({', '.join((*_JOB_TEXTS, *_JOB_WHOLE))}, state, due_at) SELECT "  # noqa: S608
        f"{cast(texts, 'TEXT')}, {cast(whole, 'BIGINT')}, 'queued', {{now}} WHERE {_DECIDED} "
        "AND (SELECT COUNT(*) FROM jobs WHERE caller = ? AND ended_at IS NULL "
        "AND state = 'queued' AND batch = '') < ? ON CONFLICT DO NOTHING"
    )
    return sql, (*texts, *whole, *decided, job.user, job.most_waiting)


def _opened(entry: Sequence[Any], job: str) -> Statement:
    sql = (
        "INSERT INTO open_entries (id, owner, entry) SELECT CAST(? AS TEXT), CAST(? AS TEXT), "  # noqa: S608
        f"CAST(? AS TEXT) WHERE {_IS_JOB} "
        "AND NOT EXISTS (SELECT 1 FROM entries WHERE id = ?) ON CONFLICT DO NOTHING"
    )
    return sql, (*entry, job, job)


def _told(job: str) -> Statement:
    sql = (
        "INSERT INTO job_events (job, at, kind, data) SELECT CAST(? AS TEXT), {now}, 'state', "  # noqa: S608
        f"CAST(? AS TEXT) WHERE {_IS_JOB} "
        "AND NOT EXISTS (SELECT 1 FROM job_events WHERE job = ?)"
    )
    return sql, (job, '{"state":"queued"}', job, job)


def _batch(batch: StoredBatch, decided: tuple[Any, ...]) -> Statement:
    texts = (
        *(batch.id, batch.state, batch.user, batch.key_id, batch.endpoint, batch.input_file),
        *(batch.within, batch.metadata, batch.request),
    )
    whole = (us(batch.created_at), us(batch.deadline), batch.budget_nano)
    columns = (
        "id, state, caller, key_id, endpoint, input_file, within, metadata, request, created_at, "
        "deadline_at, budget_nano"
    )
    sql = (
        f"INSERT INTO batches ({columns}) SELECT {cast(texts, 'TEXT')}, {cast(whole, 'BIGINT')} "
        f"WHERE {_DECIDED} ON CONFLICT DO NOTHING"
    )
    return sql, (*texts, *whole, *decided)


def _run(run: ScheduledRun, moved: tuple[Any, ...]) -> Statement:
    texts = (run.schedule, run.outcome, run.work, run.why)
    sql = (
        "INSERT INTO schedule_runs (schedule, outcome, work, why, instant) SELECT "
        f"{cast(texts, 'TEXT')}, CAST(? AS BIGINT) WHERE {_MOVED} ON CONFLICT DO NOTHING"
    )
    return sql, (*texts, us(run.instant), *moved)


def _no_room(decided: tuple[Any, ...]) -> Statement:
    """A job that is not there now was refused, for want of room in its user's line."""
    sql = (
        "UPDATE schedule_runs SET outcome = 'refused', work = '', why = ? WHERE schedule = ? "  # noqa: S608
        f"AND instant = ? AND work = ? AND NOT {_IS_JOB}"
    )
    return sql, (_LINE_FULL, *decided, decided[-1])


def change(name: str, epoch: int, timetable: Timetable, at: float) -> Statement:
    later = "CASE WHEN place > ? THEN place ELSE ? END"
    sql = (
        f"UPDATE schedules SET cron = ?, zone = ?, changed_at = ?, why = '', place = {later} "  # noqa: S608
        f"WHERE {_MINE} RETURNING name"
    )
    return sql, (timetable.cron, timetable.zone, us(at), us(at), us(at), name, epoch)


def explain(name: str, epoch: int, why: str) -> Statement:
    return f"UPDATE schedules SET why = ? WHERE {_MINE} RETURNING name", (why, name, epoch)  # noqa: S608


RUN_COLUMNS = ("schedule", "instant", "outcome", "work", "why", "state")
_RUNS = (
    "SELECT schedule, instant, outcome, work, run.why, COALESCE(jobs.state, batches.state, '') "
    "FROM (SELECT * FROM schedule_runs WHERE {where}) AS run "
    "LEFT JOIN jobs ON jobs.id = run.work LEFT JOIN batches ON batches.id = run.work "
    "ORDER BY instant DESC"
)


def run_at(name: str, instant: float) -> Statement:
    return _RUNS.replace("{where}", "schedule = ? AND instant = ?"), (name, us(instant))


def runs(name: str, most: int) -> Statement:
    where = "schedule = ? ORDER BY instant DESC LIMIT ?"
    return _RUNS.replace("{where}", where), (name, most)


def alive(name: str) -> Statement:
    going = (
        "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = work AND jobs.ended_at IS NULL) OR "
        "EXISTS (SELECT 1 FROM batches WHERE batches.id = work AND batches.ended_at IS NULL)"
    )
    sql = f"SELECT work FROM schedule_runs WHERE schedule = ? AND work <> '' AND ({going}) LIMIT 1"  # noqa: S608
    return sql, (name,)


def prune(forget_s: float) -> Statement:
    return f"DELETE FROM schedule_runs WHERE instant < {{now}} - {us(forget_s)}", ()  # noqa: S608
