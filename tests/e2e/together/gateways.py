"""A gateway of several processes, and how a test sees them from outside."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import httpx

from tests.live import LiveGateway

CONFIG = """
backends:
  home: {kind: local, app: tests/programs/echo.py:app, required: true, price: calls, workers: 2}
  paced: {kind: local, app: tests/programs/echo.py:app, handler: /count, price: calls}
  narrow: {kind: local, app: tests/programs/crowd.py:app, price: calls, concurrency: 3}
models:
  narrow: {task: infer, backends: [narrow]}
  near: {task: infer, backends: [home]}
  count: {task: infer, backends: [paced]}
  popular: {task: infer, backends: [home, paced]}
routes:
  - {name: few, when: {model: popular, requests_per_day: "< 20"}, use: [home]}
  - {name: many, when: {model: popular}, use: [paced]}
prices:
  calls: {per_call: 0.001, as_of: 2026-11-01, source: test}
plans:
  default: {requests: 1000000/minute, concurrent: 5000, spend: 100 USD/month}
"""
_LENGTH = re.compile(rb"(?i)content-length: (\d+)")
_STARTED = re.compile(r"server: process (\d+) starts")


def gateway_in(
    folder: Path,
    *,
    workers: int = 2,
    config: str = CONFIG,
    store: Mapping[str, str] = MappingProxyType({}),
) -> LiveGateway:
    """Not started yet. ``store``: settings of the policy's."""
    return LiveGateway(folder, config, workers=workers, store=dict(store))


def started(gateway: LiveGateway) -> list[int]:
    """The process ids of all serving processes that there ever were, the newest last."""
    return [int(found) for found in _STARTED.findall(gateway.log)]


def alive(gateway: LiveGateway) -> list[int]:
    """Those that have not ended."""
    return [pid for pid in started(gateway) if Path(f"/proc/{pid}/cmdline").exists()]


def settled(gateway: LiveGateway) -> list[tuple[str, str, int]]:
    """(id, outcome, nano-dollars) of every row."""
    with closing(sqlite3.connect(gateway.data / "ledger.db")) as connection:
        return connection.execute("SELECT id, outcome, cost_nano FROM entries").fetchall()


def open_calls(gateway: LiveGateway) -> int:
    """Rows that are open."""
    with closing(sqlite3.connect(gateway.data / "ledger.db")) as connection:
        found: int = connection.execute("SELECT COUNT(*) FROM open_entries").fetchone()[0]
        return found


async def ask_quickly(gateway: LiveGateway, key: str, times: int) -> list[int]:
    """The statuses of so many calls, one after the other on a connection of their own: by a client
    that costs next to nothing, where there are hundreds of these."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    body = b'"hello"'
    request = (
        b"POST /v1/infer/near HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    ) % (key.encode(), len(body), body)
    statuses: list[int] = []
    with closing(writer):
        for _ in range(times):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            found = _LENGTH.search(head)
            assert found is not None, head
            await reader.readexactly(int(found[1]))
            statuses.append(int(head.split()[1]))
    return statuses


async def ask(client: httpx.AsyncClient, body: object = "hello") -> httpx.Response:
    return await client.post("/v1/infer/near", json=body, timeout=120.0)
