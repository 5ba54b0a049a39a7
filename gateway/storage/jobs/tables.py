"""The tables of jobs, for stores of both kinds. Instants are integer microseconds since the epoch;
``number`` is the order in which something came. What is large stands last in its row."""

from __future__ import annotations


def tables(number: str, whole: str) -> tuple[str, ...]:
    """``number``: a column that counts by itself; ``whole``: the type of whole numbers."""
    return (
        f"""
CREATE TABLE jobs (
    number {number},
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    model TEXT NOT NULL,
    task TEXT NOT NULL,
    key_id TEXT NOT NULL,
    caller TEXT NOT NULL,
    rank {whole} NOT NULL,
    created_at {whole} NOT NULL,
    due_at {whole} NOT NULL,
    deadline_at {whole} NOT NULL,
    keep_us {whole} NOT NULL,
    started_at {whole},
    ended_at {whole},
    worker TEXT NOT NULL DEFAULT '',
    lease_until {whole} NOT NULL DEFAULT 0,
    epoch {whole} NOT NULL DEFAULT 0,
    cancel {whole} NOT NULL DEFAULT 0,
    cost_nano {whole} NOT NULL DEFAULT 0,
    idempotency TEXT,
    digest TEXT NOT NULL,
    webhook TEXT NOT NULL,
    attempt TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    request TEXT NOT NULL,
    answer TEXT NOT NULL DEFAULT ''
)
""",
        "CREATE INDEX jobs_alive ON jobs (model, state, due_at) WHERE ended_at IS NULL",
        "CREATE INDEX jobs_taken ON jobs (key_id) WHERE ended_at IS NULL AND worker <> ''",
        "CREATE INDEX jobs_by_caller ON jobs (caller, number)",
        "CREATE INDEX jobs_by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL",
        "CREATE UNIQUE INDEX jobs_once ON jobs (idempotency) WHERE idempotency IS NOT NULL",
        f"""
CREATE TABLE job_events (
    number {number},
    job TEXT NOT NULL,
    at {whole} NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
)
""",
        "CREATE INDEX job_events_by_job ON job_events (job, number)",
    )


WAITING = (
    "CREATE INDEX jobs_waiting ON jobs (caller) WHERE ended_at IS NULL AND state = 'queued'",
)
"""By which the jobs of a user are counted that wait."""
LINES = (
    """
CREATE INDEX jobs_in_line ON jobs (model, rank, key_id, number, due_at)
WHERE ended_at IS NULL AND state = 'queued' AND worker = ''
""",
    """
CREATE INDEX jobs_left ON jobs (number)
WHERE ended_at IS NULL AND worker = '' AND (state <> 'queued' OR cancel = 1)
""",
    """
CREATE INDEX jobs_late ON jobs (deadline_at)
WHERE ended_at IS NULL AND worker = '' AND deadline_at > 0
""",
    "CREATE INDEX jobs_leased ON jobs (lease_until) WHERE ended_at IS NULL AND worker <> ''",
    "DROP INDEX IF EXISTS jobs_alive",
    "DROP INDEX IF EXISTS jobs_taken",
    "DROP INDEX IF EXISTS jobs_waiting",
    """
CREATE INDEX jobs_waiting ON jobs (caller)
WHERE ended_at IS NULL AND state = 'queued' AND batch = ''
""",
)
"""By which the next jobs are found, and those that somebody must see to, however many wait. Each
has a condition that no other's questions have: a server that has not counted the rows yet would
take one for the other, and read all that waits."""
SQLITE_TABLES = tables("INTEGER PRIMARY KEY", "INTEGER")
POSTGRES_TABLES = tables("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "BIGINT")
