"""What a PostgreSQL of one run has worked: its CPU, and what it was asked and wrote."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from tests.postgres_server import PostgresServer

SETTINGS = {"shared_preload_libraries": "pg_stat_statements"}
"""Of a server that counts its statements."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_ROWS = "SELECT xact_commit, tup_inserted + tup_updated + tup_deleted FROM pg_stat_database WHERE "
_STATEMENTS = "SELECT COALESCE(SUM(calls), 0), COALESCE(SUM(wal_bytes), 0) FROM pg_stat_statements"


class ServerWork(msgspec.Struct, frozen=True):
    """Since the server was started; or of one of many calls."""

    cpu_s: float
    transactions: float
    rows: float
    """That were written."""
    statements: float
    """Each one is a round trip."""
    log_bytes: float

    def since(self, before: ServerWork, calls: int) -> ServerWork:
        """What was added since, for each of ``calls``."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(before), strict=True)
        return ServerWork(*((now - then) / calls for now, then in pairs))


def counting(server: PostgresServer) -> None:
    """Its statements are counted from now on."""
    server.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def worked(server: PostgresServer) -> ServerWork:
    """By now. What sessions have written counts a second later, when they have said so."""
    [[transactions, rows]] = server.query(_ROWS + "datname = 'postgres'")
    [[statements, log_bytes]] = server.query(_STATEMENTS)
    counts = (int(transactions), int(rows), int(statements), int(log_bytes))
    return ServerWork(_cpu_s(server.pid), *counts)


def _cpu_s(pid: int) -> float:
    """Of a process and its children, those included that have ended."""
    ticks = 0
    for one in Path("/proc").glob("[0-9]*"):
        try:
            fields = (one / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == pid or one.name == str(pid):
            ticks += sum(map(int, fields[11:15]))
    return ticks * _TICK_S
