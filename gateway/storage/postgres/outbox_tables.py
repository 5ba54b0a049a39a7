"""The tables of the outbox, and the trigger that notes settled rows for who takes usage: one
statement for a whole group of rows.

``number`` is the order in which something came. Instants are integer microseconds.
"""

from __future__ import annotations

NOW = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"
"""Microseconds since the epoch, by the server's clock."""

OUTBOX = f"""
CREATE TABLE endpoints (
    name TEXT COLLATE "C" PRIMARY KEY,
    usage BIGINT NOT NULL,
    failing_since BIGINT,
    disabled_at BIGINT
);

CREATE TABLE outbox (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    url TEXT NOT NULL,
    body TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    delivered_at BIGINT,
    UNIQUE (endpoint, id)
);

CREATE INDEX outbox_by_due ON outbox (endpoint, due_at) WHERE delivered_at IS NULL;

CREATE TABLE unsent_usage (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint TEXT COLLATE "C" NOT NULL,
    entry TEXT COLLATE "C" NOT NULL,
    made_at BIGINT NOT NULL
);

CREATE INDEX unsent_usage_by_endpoint ON unsent_usage (endpoint, number);

CREATE TABLE deliveries (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    at BIGINT NOT NULL,
    took_us BIGINT NOT NULL,
    status BIGINT NOT NULL,
    error TEXT NOT NULL
);

CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint, number);

CREATE TABLE budget_facts (
    scope TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    span TEXT COLLATE "C" NOT NULL,
    ends_at BIGINT NOT NULL,
    bound BIGINT NOT NULL,
    step TEXT COLLATE "C" NOT NULL,
    teller TEXT NOT NULL,
    told_at BIGINT NOT NULL,
    PRIMARY KEY (scope, unit, span, ends_at, bound, step)
);

CREATE FUNCTION note_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unsent_usage (endpoint, entry, made_at)
    SELECT endpoints.name, settled.id, {NOW}
    FROM endpoints CROSS JOIN settled
    WHERE endpoints.usage = 1 AND endpoints.disabled_at IS NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER usage_is_noted AFTER INSERT ON entries
REFERENCING NEW TABLE AS settled FOR EACH STATEMENT EXECUTE FUNCTION note_usage();
"""  # noqa: S608 - a constant of ours
