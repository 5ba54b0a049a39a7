"""The ledger's statements: each takes a whole group of rows, one array a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.storage.jobs.base import WAITS_IN_STORE
from gateway.storage.rows import COLUMNS, INTEGERS, Encoded

_TYPES = [
    "bigint" if name in INTEGERS else "jsonb" if name == "tags" else "text" for name in COLUMNS
]
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)


def _arrays(first: int) -> str:
    return ", ".join(f"${number}::{type}[]" for number, type in enumerate(_TYPES, first))


def _settled(first: int) -> str:
    """Those that are settled already are left as they are."""
    return (
        f"INSERT INTO entries ({_NAMES}) SELECT * FROM unnest({_arrays(first)}) "  # noqa: S608
        "ON CONFLICT (id) DO NOTHING"
    )


_OPENED = (
    "INSERT INTO open_entries (id, owner, entry) "
    "SELECT new.id, new.owner, new.entry FROM unnest($1::text[], $2::text[], $3::text[]) "
    "AS new (id, owner, entry) WHERE NOT EXISTS (SELECT FROM entries WHERE entries.id = new.id) "
    "ON CONFLICT (id) DO NOTHING RETURNING id"
)

OPEN = _OPENED
"""Gives the ids of the rows that are new."""
SETTLE = (
    f"WITH settled AS ({_settled(1)}) "  # noqa: S608
    "DELETE FROM open_entries WHERE id = ANY ($1::text[])"
)
OPEN_AND_SETTLE = (
    f"WITH opened AS ({_OPENED}), settled AS ({_settled(4)}), "  # noqa: S608
    "ended AS (DELETE FROM open_entries WHERE id = ANY ($4::text[])) SELECT id FROM opened"
)
"""Both in one transaction; gives what ``OPEN`` does."""
REOPEN = (
    "UPDATE open_entries SET entry = $2, taken = FALSE, "  # noqa: S608 - a constant of ours
    f"owner = CASE owner WHEN '{WAITS_IN_STORE}' THEN owner ELSE $3 END "
    "WHERE id = $1 AND entry = $4 RETURNING id"
)
FIND_OPEN = "SELECT entry FROM open_entries WHERE id = $1"

SELECT_SETTLED = f"SELECT {_NAMES} FROM entries"  # noqa: S608
SELECT_OPEN = "SELECT entry FROM open_entries"


def without_nul(rows: Sequence[Encoded]) -> list[Encoded]:
    """PostgreSQL's texts hold every character but one, which is shown by its symbol instead."""
    return [
        [
            value.replace("\0", "\N{SYMBOL FOR NULL}") if isinstance(value, str) else value
            for value in row
        ]
        for row in rows
    ]


def columns(rows: Sequence[Encoded]) -> list[Sequence[Any]]:
    """Rows -> the arrays that the statements take."""
    return list(zip(*rows, strict=True))
