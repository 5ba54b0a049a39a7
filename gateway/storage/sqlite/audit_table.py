"""The table of the audit log, in the file of the keys."""

from __future__ import annotations

import sqlite3

import msgspec

from gateway.storage.audit import Act, AuditEntry, AuditQuery, entry_of

AUDIT = (
    """
CREATE TABLE audit (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    act TEXT NOT NULL,
    target TEXT NOT NULL,
    details TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT
""",
    """
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is only added to');
END
""",
    """
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is only added to');
END
""",
)


def add(connection: sqlite3.Connection, act: Act) -> None:
    """In the transaction that is open, if one is."""
    connection.execute(
        "INSERT INTO audit (at, actor, address, act, target, details, outcome) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            act.at,
            act.actor,
            act.address,
            act.act,
            act.target,
            msgspec.json.encode(act.details).decode(),
            act.outcome,
        ),
    )


def read(connection: sqlite3.Connection, query: AuditQuery) -> list[AuditEntry]:
    """Newest first."""
    found = connection.execute(
        "SELECT number, at, actor, address, act, target, details, outcome FROM audit "
        "WHERE number < ifnull(:before, 9e18) AND :actor IN ('', actor) AND :act IN ('', act) "
        "AND :target IN ('', target) ORDER BY number DESC LIMIT :most",
        msgspec.structs.asdict(query),
    )
    return [entry_of(*row) for row in found]
