"""A PostgreSQL and a Redis for a contender, as the tests start them."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

from benchmarks.gateway.processes import Missing
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer


def start_postgres(started: ExitStack) -> tuple[str, int]:
    """Its URL and its process id; one that keeps what it acknowledges. Raises Missing."""
    if not any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        raise Missing("PostgreSQL is not installed")
    server = PostgresServer({"shared_buffers": "128MB"})
    started.callback(shutil.rmtree, server.folder, ignore_errors=True)
    started.callback(server.stop)
    server.start()
    return server.url(), server.pid


def start_redis(started: ExitStack) -> tuple[str, int]:
    """The same of a Redis that keeps nothing."""
    if shutil.which("redis-server") is None:
        raise Missing("redis-server is not installed")
    server = RedisServer()
    started.callback(server.stop)
    server.start()
    return server.url, server.pid
