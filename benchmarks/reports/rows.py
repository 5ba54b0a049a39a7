"""A year of calls of 200 users, 4 models and 3 backends at random, in the order in which they
began."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.storage.postgres.connections import connect as connect_to_server
from gateway.storage.rows import COLUMNS
from gateway.storage.sqlite.rows import SELECT_SETTLED, connect
from gateway.store_urls import Database
from gateway.types import MICRO

_YEAR_S = 365 * 86_400
_CHUNK = 200_000


def fill(path: Path, rows: int, *, now: float | None = None) -> None:
    """The year ends ``now``, in seconds since the epoch; left out: at this instant."""
    began = ((time.time() if now is None else now) - _YEAR_S) * MICRO
    step = _YEAR_S * MICRO / rows
    values = {
        "id": "printf('req_%016x', n)",
        "kind": "CASE WHEN n % 50 = 0 THEN 'idle' WHEN n % 37 = 0 THEN 'attempt' ELSE 'call' END",
        "outcome": "CASE WHEN n % 40 = 1 THEN 'error' ELSE 'success' END",
        "started_at": f"CAST({began} + n * {step} AS INTEGER)",
        "ended_at": f"CAST({began} + n * {step} AS INTEGER) + 20000 + abs(random()) % 4000000",
        "key_id": "'key_' || u",
        "user": "'user-' || u",
        "plan": "'free'",
        "tags": """'{"team":"team-' || (u % 7) || '"}'""",
        "model": "'model-' || (u % 4)",
        "task": "'chat'",
        "backend": "'backend-' || (n % 3)",
        "reason": "CASE WHEN n % 9 = 0 THEN 'spill' ELSE 'cheapest' END",
        "route": "'default'",
        "policy": "'0123456789ab'",
        "status": "200",
        "error": "CASE WHEN n % 40 = 1 THEN 'server_error' ELSE '' END",
        "stream": "0",
        "input_tokens": "abs(random()) % 3000",
        "output_tokens": "abs(random()) % 500",
        "queue_us": "abs(random()) % 50000",
        "cold_us": "CASE WHEN n % 100 = 3 THEN 4000000 ELSE 0 END",
        "exec_us": "abs(random()) % 4000000",
        "gpu_us": "abs(random()) % 4000000",
        "hold_nano": "1000000",
        "cost_nano": "abs(random()) % 1000000",
        "cost_basis": "'reported'",
        "price": "'price-' || (n % 3)",
        "worker": "'w'",
        "history": "''",
    }
    select = ", ".join(values[name] for name in COLUMNS)
    with contextlib.closing(connect(path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        for first in range(0, rows, _CHUNK):
            connection.execute(
                f"""WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL
                SELECT n + 1 FROM numbers WHERE n + 1 < {min(first + _CHUNK, rows)})
                INSERT INTO entries ({", ".join(COLUMNS)})
                SELECT {select} FROM (SELECT n, (n * 2654435761 / 65536) % 200 AS u FROM numbers)"""
            )


async def copy(path: Path, database: Database) -> None:
    """The rows of a file to a schema that a ledger has made."""
    connection = await connect_to_server(
        database, "fill", timeout_s=30.0, statement_timeout_s=3_600.0
    )
    try:
        for page in _pages(path):
            await connection.copy_records_to_table("entries", records=page, columns=COLUMNS)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def _pages(path: Path) -> Iterator[list[tuple[Any, ...]]]:
    with contextlib.closing(connect(path)) as source:
        found = source.execute(f"{SELECT_SETTLED} ORDER BY rowid")
        while page := found.fetchmany(_CHUNK):
            yield page
