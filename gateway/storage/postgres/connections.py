"""Connections to a PostgreSQL database: bounded, of one schema, and to the server that writes."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import asyncpg

from gateway.storage.base import StorageUnavailable, unavailable
from gateway.store_urls import Database

Connection: TypeAlias = "asyncpg.Connection"

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What asyncpg raises when a server cannot be used; a TimeoutError is an OSError."""
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""Those after which a connection is of no use, and what was under way may be done or not."""


def settings_of(database: Database) -> dict[str, Any]:
    """The arguments of ``asyncpg.connect`` and ``asyncpg.create_pool`` that say where."""
    dsn = f"postgresql:///?sslmode={database.sslmode}"
    if database.sslrootcert:
        dsn += f"&sslrootcert={database.sslrootcert}"
    return {
        "dsn": dsn,
        "host": [host for host, _ in database.hosts],
        "port": [port for _, port in database.hosts],
        "user": database.username,
        "password": database.password.reveal() or None,
        "database": database.database,
        "target_session_attrs": "primary",
    }


def session_settings(database: Database, name: str, statement_timeout_s: float) -> dict[str, str]:
    """What the server is told of a session. It ends a statement by itself past its time: a client
    that is gone keeps no lock. To compile a statement of many parts takes longer than to run it."""
    return {
        "application_name": f"spillgate {name}",
        "search_path": database.schema,
        "jit": "off",
        "statement_timeout": str(round(statement_timeout_s * 1000)),
        "idle_in_transaction_session_timeout": str(round(statement_timeout_s * 1000)),
    }


async def connect(
    database: Database, name: str, *, timeout_s: float, statement_timeout_s: float
) -> Connection:
    """Raises one of ``FAILURES`` after ``timeout_s`` at the latest."""
    async with asyncio.timeout(timeout_s):
        connection: Connection = await asyncpg.connect(
            **settings_of(database),
            timeout=timeout_s,
            server_settings=session_settings(database, name, statement_timeout_s),
        )
        return connection


def reason_of(error: BaseException, database: Database) -> str:
    """Why the database cannot be used, on one line, without the password."""
    said = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        said = "it did not answer in time"
    password = database.password.reveal()
    if password:
        said = said.replace(password, "***")
    return " ".join(f"{database!r}: {said}".split())


def unreachable(error: Exception, database: Database) -> StorageUnavailable:
    """What it means for the database that a connection failed with ``error``."""
    return unavailable(error, reason_of(error, database))
