"""The tables of the outbox, and the trigger that notes each settled row for who takes usage.

``number`` is the order in which something came. Instants are integer microseconds.
"""

from __future__ import annotations

NOW = "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)"
"""Microseconds since the epoch, to some forty of them."""

STATEMENTS = (
    """
CREATE TABLE endpoints (
    name TEXT NOT NULL PRIMARY KEY,
    usage INTEGER NOT NULL,
    failing_since INTEGER,
    disabled_at INTEGER
) STRICT, WITHOUT ROWID
""",
    """
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    topic TEXT NOT NULL,
    url TEXT NOT NULL,
    body TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    delivered_at INTEGER,
    UNIQUE (endpoint, id)
) STRICT
""",
    "CREATE INDEX outbox_by_due ON outbox (endpoint, due_at) WHERE delivered_at IS NULL",
    """
CREATE TABLE unsent_usage (
    number INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    entry TEXT NOT NULL,
    made_at INTEGER NOT NULL
) STRICT
""",
    "CREATE INDEX unsent_usage_by_endpoint ON unsent_usage (endpoint, number)",
    """
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    topic TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    took_us INTEGER NOT NULL,
    status INTEGER NOT NULL,
    error TEXT NOT NULL
) STRICT
""",
    "CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint, number)",
    """
CREATE TABLE budget_facts (
    scope TEXT NOT NULL,
    unit TEXT NOT NULL,
    span TEXT NOT NULL,
    ends_at INTEGER NOT NULL,
    bound INTEGER NOT NULL,
    step TEXT NOT NULL,
    teller TEXT NOT NULL,
    told_at INTEGER NOT NULL,
    PRIMARY KEY (scope, unit, span, ends_at, bound, step)
) STRICT, WITHOUT ROWID
""",
    f"""
CREATE TRIGGER usage_is_noted AFTER INSERT ON entries BEGIN
    INSERT INTO unsent_usage (endpoint, entry, made_at)
    SELECT name, NEW.id, {NOW} FROM endpoints WHERE usage = 1 AND disabled_at IS NULL;
END
""",  # noqa: S608 - a constant of ours
)
