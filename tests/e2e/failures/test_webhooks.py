"""Killed under load, gateways tell a billing system of each settled row, and of no other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx

from tests.gateway.events.receivers import SECRET, RawReceiver, receiving, saying
from tests.live import LiveGateway
from tests.waiting import until

CONFIG = """
backends:
  home: {{kind: local, app: tests/programs/echo.py:app, required: true, price: here}}
models:
  near: {{task: infer, backends: [home]}}
prices:
  here: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
plans:
  default: {{requests: 1000000/minute, concurrent: 1000, spend: 100 USD/month}}
webhooks:
  allow_private: true
  timeout: 2s
  endpoints:
    billing: {{url: "{url}", secret: "${{WEBHOOK_SECRET}}", events: [usage], batch: 5}}
"""
ROUNDS = 3
CALLERS = 6


async def test_each_settled_row_is_told_at_least_once_and_by_one_message(tmp_path: Path) -> None:
    """Between insert and send, between send and mark: what was on its way when a gateway was killed
    is sent again by the next one, after the lease."""
    async with receiving(saying(200), saying(500), saying(200)) as receiver:
        gateway = LiveGateway(
            tmp_path,
            CONFIG.format(url=receiver.url),
            server={"access_log": False},
            env={"WEBHOOK_SECRET": SECRET},
        )
        for _ in range(ROUNDS):
            await asyncio.to_thread(gateway.start)
            await load_until_killed(gateway, receiver, len(receiver.received) + 10)
        await asyncio.to_thread(gateway.start)
        rows = settled(gateway.data / "ledger.db")
        await until(lambda: rows <= told(receiver), "every settled row is told", within_s=90)
        await asyncio.to_thread(gateway.stop)
        assert told(receiver) <= settled(gateway.data / "ledger.db")
    assert len(rows) > 20 * ROUNDS
    check_messages(receiver)


async def load_until_killed(gateway: LiveGateway, receiver: RawReceiver, messages: int) -> None:
    async with gateway.async_client() as client:
        callers = [asyncio.create_task(call_on(client)) for _ in range(CALLERS)]
        try:
            await until(lambda: len(receiver.received) >= messages, "so many are told")
        finally:
            await asyncio.to_thread(gateway.kill)
        await asyncio.gather(*callers)


async def call_on(client: httpx.AsyncClient) -> None:
    with contextlib.suppress(httpx.TransportError):
        while True:
            await client.post("/v1/infer/near", json={"echo": "near"})


def settled(ledger: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        return {id for (id,) in connection.execute("SELECT id FROM entries")}


def told(receiver: RawReceiver) -> set[str]:
    messages = [json.loads(one.body) for one in receiver.received]
    return {row["id"] for one in messages for row in one["data"]["rows"]}


def check_messages(receiver: RawReceiver) -> None:
    """Each is signed, is the same whenever it comes, and no row is in two of them."""
    bodies: dict[str, Any] = {}
    for one in receiver.received:
        assert bodies.setdefault(one.id, one.verified()) == one.verified()
    rows = [row["id"] for body in bodies.values() for row in body["data"]["rows"]]
    assert len(rows) == len(set(rows))
