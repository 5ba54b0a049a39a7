"""The table of the audit log, beside the keys."""

from __future__ import annotations

import msgspec

from gateway.storage.audit import Act, AuditEntry, AuditQuery, entry_of
from gateway.storage.postgres.connections import Connection

AUDIT = """
CREATE TABLE audit (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    address TEXT NOT NULL,
    act TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    details TEXT NOT NULL,
    outcome TEXT NOT NULL
);

CREATE FUNCTION refuse_a_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only added to';
END
$$;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_a_change();
"""


async def add(connection: Connection, act: Act) -> None:
    """In the transaction that is open. Entries are committed in the order of their numbers, so
    that who turns pages misses none."""
    await connection.execute("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE")
    await connection.execute(
        "INSERT INTO audit (at, actor, address, act, target, details, outcome) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        act.at, act.actor, act.address, act.act, act.target,
        msgspec.json.encode(act.details).decode(), act.outcome,
    )  # fmt: skip


async def read(connection: Connection, query: AuditQuery) -> list[AuditEntry]:
    """Newest first."""
    found = await connection.fetch(
        "SELECT number, at, actor, address, act, target, details, outcome FROM audit "
        "WHERE number < coalesce($1::bigint, 9000000000000000000) AND $2 IN ('', actor) "
        "AND $3 IN ('', act) AND $4 IN ('', target) ORDER BY number DESC LIMIT $5",
        query.before, query.actor, query.act, query.target, query.most,
    )  # fmt: skip
    return [entry_of(*row) for row in found]
