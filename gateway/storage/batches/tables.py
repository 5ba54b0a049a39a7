"""The tables of batches, for stores of both kinds. Instants are integer microseconds since the
epoch; ``number`` is the order in which something came. What is large stands last in its row."""

from __future__ import annotations


def tables(number: str, whole: str) -> tuple[str, ...]:
    """``number``: a column that counts by itself; ``whole``: the type of whole numbers."""
    return (
        f"""
CREATE TABLE batches (
    number {number},
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    caller TEXT NOT NULL,
    key_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    input_file TEXT NOT NULL,
    within TEXT NOT NULL,
    created_at {whole} NOT NULL,
    deadline_at {whole} NOT NULL,
    budget_nano {whole},
    begun_at {whole},
    canceling_at {whole},
    finalizing_at {whole},
    ended_at {whole},
    total {whole} NOT NULL DEFAULT 0,
    fed_line {whole} NOT NULL DEFAULT 0,
    fed_byte {whole} NOT NULL DEFAULT 0,
    done {whole} NOT NULL DEFAULT 0,
    failed {whole} NOT NULL DEFAULT 0,
    cost_nano {whole} NOT NULL DEFAULT 0,
    worker TEXT NOT NULL DEFAULT '',
    lease_until {whole} NOT NULL DEFAULT 0,
    epoch {whole} NOT NULL DEFAULT 0,
    output_file TEXT NOT NULL DEFAULT '',
    error_file TEXT NOT NULL DEFAULT '',
    why TEXT NOT NULL DEFAULT '',
    metadata TEXT NOT NULL,
    request TEXT NOT NULL,
    faults TEXT NOT NULL DEFAULT ''
)
""",
        "CREATE INDEX batches_alive ON batches (lease_until) WHERE ended_at IS NULL",
        "CREATE INDEX batches_by_caller ON batches (caller, number)",
        "CREATE INDEX batches_by_end ON batches (ended_at) WHERE ended_at IS NOT NULL",
        f"""
CREATE TABLE batch_lines (
    batch TEXT NOT NULL,
    line {whole} NOT NULL,
    custom_id TEXT NOT NULL,
    job TEXT NOT NULL,
    fault TEXT NOT NULL,
    PRIMARY KEY (batch, line)
)
""",
        "ALTER TABLE jobs ADD COLUMN batch TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX jobs_by_batch ON jobs (batch, state, cost_nano) WHERE batch <> ''",
    )


SQLITE_TABLES = tables("INTEGER PRIMARY KEY", "INTEGER")
POSTGRES_TABLES = tables("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "BIGINT")
