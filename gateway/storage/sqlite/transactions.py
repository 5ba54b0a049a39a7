"""A transaction that writes: whole, or undone."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Nobody else writes meanwhile. Raises sqlite3.Error where others do for too long."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
