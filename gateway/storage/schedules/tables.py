"""The tables of schedules, for stores of both kinds. Instants are integer microseconds since the
epoch."""

from __future__ import annotations


def tables(whole: str) -> tuple[str, ...]:
    """``whole``: the type of whole numbers."""
    return (
        f"""
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    cron TEXT NOT NULL,
    zone TEXT NOT NULL,
    place {whole} NOT NULL,
    changed_at {whole} NOT NULL,
    worker TEXT NOT NULL DEFAULT '',
    lease_until {whole} NOT NULL DEFAULT 0,
    epoch {whole} NOT NULL DEFAULT 0,
    why TEXT NOT NULL DEFAULT ''
)
""",
        f"""
CREATE TABLE schedule_runs (
    schedule TEXT NOT NULL,
    instant {whole} NOT NULL,
    outcome TEXT NOT NULL,
    work TEXT NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (schedule, instant)
)
""",
    )


SQLITE_TABLES = tables("INTEGER")
POSTGRES_TABLES = tables("BIGINT")
