"""The outbox's statements, which stores of every kind share: values in, statements out.

Each function gives what one transaction runs. A ``?`` stands for a value; ``{now}`` for the store's
clock, ``{lock}`` and ``{skip}`` for how rows are locked, where they are.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.storage.outbox import Attempted, Message, ToldOnce
from gateway.storage.rows import COLUMNS
from gateway.types import JOB_RECEIVERS, MICRO

Statement = tuple[str, tuple[Any, ...]]
"""SQL, and its values."""

_LATE_US = 62 * 86_400 * MICRO
"""Windows are no longer than a month: what is of one that ended so long ago is told no more."""
_PUT = (
    "INSERT INTO outbox (id, endpoint, topic, url, body, made_at, due_at) "
    "SELECT CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), "
    "{now}, {now} WHERE "
)
_ONCE = " ON CONFLICT (endpoint, id) DO NOTHING"
_ENTRY = ", ".join(f'entries."{name}"' for name in COLUMNS)
_NOTE = (
    "INSERT INTO unsent_usage (endpoint, entry, made_at) "
    "SELECT endpoints.name, entries.id, {now} FROM endpoints CROSS JOIN entries "
    "WHERE endpoints.name = ? AND endpoints.usage = 1 AND "
)


def subscribe(endpoints: Mapping[str, bool]) -> list[Statement]:
    upsert = (
        "INSERT INTO endpoints (name, usage) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET usage = excluded.usage"
    )
    names = tuple(sorted(endpoints))
    others = (
        f"UPDATE endpoints SET usage = 0 WHERE usage = 1 AND name NOT IN ({_marks(('', *names))})"  # noqa: S608
    )
    return [*((upsert, (name, int(endpoints[name]))) for name in names), (others, ("", *names))]


def put(messages: Sequence[Message]) -> list[Statement]:
    return [(f"{_PUT} TRUE{_ONCE}", _values(message)) for message in messages]


def put_where(message: Message, condition: str, values: Sequence[Any]) -> Statement:
    """Adds a message where a condition holds in the same transaction; ``values`` are its own."""
    return f"{_PUT} {condition}{_ONCE}", (*_values(message), *values)


def noted(endpoint: str, most: int) -> Statement:
    """Each row: number, entry's id, and the values of the entry, or as many NULL."""
    sql = (
        f"SELECT unsent_usage.number, unsent_usage.entry, {_ENTRY} FROM unsent_usage "  # noqa: S608
        "LEFT JOIN entries ON entries.id = unsent_usage.entry "
        "WHERE unsent_usage.endpoint = ? ORDER BY unsent_usage.number LIMIT ?"
    )
    return sql, (endpoint, most)


def gathered(
    endpoint: str, messages: Sequence[tuple[Message, Sequence[int]]], numbers: Sequence[int]
) -> list[Statement]:
    """``messages``, each with the numbers of its rows; ``numbers``: all that are noted no more.
    Where another gateway has made a message of one of a group, this one makes none of it."""
    statements: list[Statement] = [("SELECT name FROM endpoints WHERE name = ?{lock}", (endpoint,))]
    for message, rows in messages:
        whole = f"(SELECT COUNT(*) FROM unsent_usage WHERE number IN ({_marks(rows)})) = ?"  # noqa: S608
        values = (*_values(message), *rows, len(rows))
        statements.append((_PUT + whole + _ONCE, values))
    drop = f"DELETE FROM unsent_usage WHERE number IN ({_marks(numbers)}) RETURNING number"  # noqa: S608
    return [*statements, (drop, tuple(numbers))]


def take(endpoint: str, most: int, lease_us: int) -> Statement:
    sql = (
        "WITH found AS MATERIALIZED (SELECT number FROM outbox WHERE endpoint = ? "
        "AND delivered_at IS NULL AND due_at <= {now} ORDER BY due_at LIMIT ?{skip}) "
        "UPDATE outbox SET due_at = {now} + ?, attempts = attempts + 1 "
        "WHERE number IN (SELECT number FROM found) "
        "RETURNING number, id, endpoint, topic, url, body, made_at, attempts"
    )
    return sql, (endpoint, most, lease_us)


def mark(attempted: Sequence[Attempted]) -> list[Statement]:
    return [statement for one in attempted for statement in _mark(one)]


def _mark(one: Attempted) -> list[Statement]:
    delivery = one.delivery
    ended: Statement
    which = (delivery.endpoint, delivery.id)
    failing = "UPDATE endpoints SET failing_since = "
    if one.again_s is not None:
        sql = "UPDATE outbox SET due_at = {now} + ? WHERE endpoint = ? AND id = ?"
        ended = (f"{sql} AND delivered_at IS NULL", (round(one.again_s * MICRO), *which))
        state = failing + "{now} WHERE name = ? AND failing_since IS NULL"
    else:
        sql = "UPDATE outbox SET delivered_at = {now}" if one.keep else "DELETE FROM outbox"
        ended = (f"{sql} WHERE endpoint = ? AND id = ?", which)
        state = failing + "NULL WHERE name = ? AND failing_since IS NOT NULL"
    log = (
        "INSERT INTO deliveries (id, endpoint, topic, attempt, at, took_us, status, error) "
        "VALUES (?, ?, ?, ?, {now}, ?, ?, ?)"
    )
    told = (
        *(delivery.id, delivery.endpoint, delivery.topic, delivery.attempt),
        *(round(delivery.took_s * MICRO), delivery.status, delivery.error),
    )
    return [ended, (log, told), (state, (delivery.endpoint,))]


def tell(fact: ToldOnce, messages: Sequence[Message]) -> list[Statement]:
    """The last gives a row where the fact is new."""
    key = (fact.scope, fact.unit, fact.window, fact.ends_at, fact.limit, fact.step)
    teller = secrets.token_hex(8)
    know = (
        "INSERT INTO budget_facts (scope, unit, span, ends_at, bound, step, teller, told_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, {now}) ON CONFLICT DO NOTHING"
    )
    mine = (
        "SELECT 1 FROM budget_facts WHERE scope = ? AND unit = ? AND span = ? AND ends_at = ? "
        "AND bound = ? AND step = ? AND teller = ?"
    )
    told = [
        (f"{_PUT} EXISTS ({mine}){_ONCE}", (*_values(message), *key, teller))
        for message in messages
    ]
    return [(know, (*key, teller)), *told, (mine, (*key, teller))]


_WAITS = "FROM outbox WHERE endpoint = name AND delivered_at IS NULL"
_UNSENT = "FROM unsent_usage WHERE endpoint = name"
_DUE = f"EXISTS (SELECT 1 {_UNSENT}) OR EXISTS (SELECT 1 {_WAITS} AND due_at <= {{now}})"

STATES = (
    "SELECT name, usage, "  # noqa: S608
    f"(SELECT COUNT(*) {_WAITS}) + (SELECT COUNT(*) {_UNSENT}), "
    f"(SELECT MIN(made_at) {_WAITS}), (SELECT made_at {_UNSENT} ORDER BY number LIMIT 1), "
    f"failing_since, disabled_at, {{now}}, {_DUE} FROM endpoints ORDER BY name"
)
DUE = f"SELECT name FROM endpoints WHERE disabled_at IS NULL AND ({_DUE})"  # noqa: S608


def disable(endpoint: str) -> Statement:
    sql = "UPDATE endpoints SET disabled_at = {now} WHERE name = ? AND disabled_at IS NULL "
    return sql + "RETURNING name", (endpoint,)


def disabled(endpoint: str) -> Statement:
    """A row where there is such an endpoint: since when, and the time now."""
    return "SELECT disabled_at, {now} FROM endpoints WHERE name = ?", (endpoint,)


def enable(endpoint: str) -> list[Statement]:
    return [
        (
            "UPDATE outbox SET due_at = {now} WHERE endpoint = ? AND delivered_at IS NULL",
            (endpoint,),
        ),
        (
            "UPDATE endpoints SET disabled_at = NULL, failing_since = NULL WHERE name = ?",
            (endpoint,),
        ),
    ]


def redeliver(endpoint: str, id: str) -> Statement:
    sql = (
        "UPDATE outbox SET due_at = {now}, delivered_at = NULL, attempts = 0 "
        "WHERE endpoint = ? AND id = ? RETURNING id"
    )
    return sql, (endpoint, id)


def part_of(since_us: int, until_us: int, most: int) -> Statement:
    """Where a time of about ``most`` rows ends; no row where there are fewer."""
    sql = (
        "SELECT started_at FROM entries WHERE started_at >= ? AND started_at < ? "
        "ORDER BY started_at LIMIT 1 OFFSET ?"
    )
    return sql, (since_us, until_us, most)


def note(endpoint: str, since_us: int, until_us: int, ended_us: int) -> Statement:
    """Notes the rows that began in a time and did not end before ``ended_us``; gives one each."""
    which = (
        "entries.started_at >= ? AND entries.started_at < ? "
        "AND COALESCE(entries.ended_at, entries.started_at) >= ? RETURNING number"
    )
    return _NOTE + which, (endpoint, since_us, until_us, ended_us)


def deliveries(endpoint: str, most: int, id: str) -> Statement:
    of_one, values = (" AND id = ?", (endpoint, id)) if id else ("", (endpoint,))
    sql = (
        "SELECT id, endpoint, topic, attempt, at, took_us, status, error FROM deliveries "  # noqa: S608
        f"WHERE endpoint = ?{of_one} ORDER BY number DESC LIMIT ?"
    )
    return sql, (*values, most)


def prune(keep_us: int, most_deliveries: int, most: int) -> list[Statement]:
    """Of the oldest ``most`` of each. The first two give an endpoint for each message and row that
    nobody had taken."""
    waiting = "SELECT number, made_at FROM outbox WHERE delivered_at IS NULL"
    return [
        _drop("outbox", waiting, keep_us, most),
        _drop("unsent_usage", "SELECT number, made_at FROM unsent_usage", keep_us, most),
        ("DELETE FROM outbox WHERE delivered_at < {now} - ?", (keep_us,)),
        ("DELETE FROM deliveries WHERE at < {now} - ?", (keep_us,)),
        (_PAST_THE_LAST, (most_deliveries,)),
        (
            "DELETE FROM deliveries WHERE number <= (SELECT MAX(number) FROM deliveries) - ?",
            (_RECEIVERS * most_deliveries,),
        ),
        ("DELETE FROM budget_facts WHERE ends_at < {now} - ?", (_LATE_US,)),
        # Whoever ends a job locks its receiver before it puts the message: what is looked at again
        # behind the same lock has none.
        (f"SELECT name FROM endpoints WHERE {_IDLE}{{lock}}", (keep_us,)),  # noqa: S608
        (f"DELETE FROM endpoints WHERE {_IDLE}", (keep_us,)),  # noqa: S608
    ]


_RECEIVERS = 100
"""Whose attempts are kept in full, if all are tried again and again; callers name receivers."""
_PAST_THE_LAST = (
    "DELETE FROM deliveries WHERE number IN (SELECT number FROM (SELECT number, ROW_NUMBER() "
    "OVER (PARTITION BY endpoint ORDER BY number DESC) AS place FROM deliveries) AS placed "
    "WHERE place > ?)"
)
_IS_FREE = "NOT EXISTS (SELECT 1 FROM outbox WHERE endpoint = name)"
_IDLE = f"name LIKE '{JOB_RECEIVERS}%' AND COALESCE(disabled_at, 0) < {{now}} - ? AND {_IS_FREE}"
"""Of receivers that jobs have named: those of whom nothing is kept."""


def _drop(table: str, oldest: str, keep_us: int, most: int) -> Statement:
    """In the order in which they came, so that no more than ``most`` are looked at."""
    sql = (
        f"DELETE FROM {table} WHERE number IN (SELECT number FROM "  # noqa: S608
        f"({oldest} ORDER BY number LIMIT ?) AS oldest WHERE made_at < {{now}} - ?) "
        "RETURNING endpoint"
    )
    return sql, (most, keep_us)


def _values(message: Message) -> tuple[str, ...]:
    return message.id, message.endpoint, message.topic, message.url, message.body


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
