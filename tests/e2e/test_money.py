"""What callers are told, the ledger, the reports and the counters that all gateways share agree to
the nano-dollar, whatever becomes of the calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.storage.base import Claim
from gateway.storage.redis.store import RedisSharedStore
from gateway.types import NANO, Unit
from tests.e2e.observing import metric
from tests.e2e.servers.moody import MOODS, MoodyServer
from tests.live import LiveGateway
from tests.redis_server import RedisServer, require_redis
from tests.waiting import until

LONG = os.environ.get("SPILLGATE_SOAK") == "long"
CALLS = 20_000 if LONG else 400
SEEDS = range(3) if LONG else range(1)
CALLERS = 24
PAIRS = 6
"""Backends rest after failures; while two of them do, calls go to the others."""
SHORT = "0.05 USD"
"""What Bob may spend: some calls are refused for it, and some are stopped half-way."""

BACKENDS = """
  a{n}: {{kind: openai, base_url: "{url}/a", price: {price}, expect: 20ms, timeout: 2s}}
  b{n}: {{kind: openai, base_url: "{url}/b", price: {other}, expect: 20ms, timeout: 2s}}
"""
REST = """
  home:
    {kind: local, app: tests/programs/echo.py:app, handler: /sleep, required: true, price: hours}
models:
  near: {task: infer, backends: [home]}
PAIRS
prices:
  tokens: {per_million_input: 31, per_million_output: 97, as_of: 2026-11-01, source: test}
  seconds: {per_second: 0.0071, bills: [run], as_of: 2026-11-01, source: test}
  calls: {per_call: 0.00013, per_second: 0.0003, as_of: 2026-11-01, source: test}
  hours: {per_hour: 3.7, as_of: 2026-11-01, source: test}
routes:
  - {name: all, use: [USED], order: listed}
plans:
  default: {concurrent: 1000, gpu_seconds: 1000000/day, spend: 90 USD/month}
"""
PRICES = ("tokens", "seconds", "calls")


def policy(url: str) -> str:
    names = [f"{letter}{n}" for n in range(PAIRS) for letter in "ab"]
    pairs = "".join(
        BACKENDS.format(n=n, url=url, price=PRICES[n % 3], other=PRICES[(n + 1 + n // 3) % 3])
        for n in range(PAIRS)
    )
    models = "\n".join(f"  m{n}: {{task: chat, backends: [a{n}, b{n}]}}" for n in range(PAIRS))
    rest = REST.replace("PAIRS", models).replace("USED", ", ".join([*names, "home"]))
    return "backends:\n" + pairs + rest


class Books:
    """What was told to callers, by request id, and how many calls nobody was told the cost of."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.unheard = 0
        self.statuses: set[int] = set()
        self.cut = 0

    def whole(self, answer: httpx.Response) -> None:
        self.statuses.add(answer.status_code)
        cost = Decimal(answer.headers.get("x-spillgate-cost", "0"))
        self.told[answer.headers["x-request-id"]] = int(cost * NANO)

    def stream(self, answer: httpx.Response, last: dict[str, Any], *, ends: bool) -> None:
        """``ends``: its body has an end, which that of a cut one never has."""
        assert ends is ("error" not in last)
        self.cut += "error" in last
        if "usage" not in last:  # nobody knows how many tokens: no event that could tell the cost
            self.unheard += 1
            return
        self.told[answer.headers["x-request-id"]] = round(last["usage"]["cost"] * NANO)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    require_redis()
    with RedisServer() as server:
        yield server


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
async def test_every_nano_dollar_is_told_booked_reported_and_counted_once(
    seed: int, tmp_path: Path, redis: RedisServer
) -> None:
    """Success, failure, another backend, time-out, a budget's end, a cut stream, a client that
    hangs up; at prices by the second, the call, the token and the hour."""
    async with MoodyServer() as server:
        gateway = LiveGateway(
            tmp_path,
            policy(server.url),
            server={"access_log": False},
            store={"shared": redis.url},
        )
        with gateway:
            books = Books()
            keys = [gateway.user_key, gateway.create_key("bob", "--limit", f"spend={SHORT}/month")]
            dice = random.Random(f"money {seed}")
            turns = iter(range(CALLS))
            async with gateway.async_client(keys[0]) as rich, gateway.async_client(keys[1]) as poor:
                callers = (keep_calling((rich, poor), dice, turns, books) for _ in range(CALLERS))
                await asyncio.gather(*callers)
            await until(lambda: nothing_is_open(gateway), "all is settled")
            rows = rows_of(gateway)
            check_what_was_told(books, rows)
            check_the_reports(gateway, rows)
            await check_the_counters(redis, rows)
            check_that_all_happened(books, rows)


async def keep_calling(
    clients: tuple[httpx.AsyncClient, ...], dice: random.Random, turns: Iterator[int], books: Books
) -> None:
    for _ in turns:
        patience = dice.choice((30.0, 30.0, 30.0, dice.uniform(0.0, 0.4)))
        call = one_call(dice.choice(clients), dice, books)
        try:
            async with asyncio.timeout(patience):
                await call
        except (TimeoutError, httpx.TransportError):
            books.unheard += 1


async def one_call(client: httpx.AsyncClient, dice: random.Random, books: Books) -> None:
    if dice.random() < 0.15:
        nap = dice.choice((0, 0.01, 0.1, "no number"))
        books.whole(await client.post("/v1/infer/near", json=nap))
        return
    body = chat(dice)
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines, ends = list[str](), False
        with contextlib.suppress(httpx.RemoteProtocolError):
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    lines.append(line)
            ends = True
        if not answer.headers["content-type"].startswith("text/event-stream"):
            books.whole(answer)
        else:
            books.stream(answer, json.loads(lines[-1].removeprefix("data: ")), ends=ends)


def chat(dice: random.Random) -> dict[str, Any]:
    """Mostly fit to be answered, as else everything would rest most of the time."""
    tokens = dice.randrange(1, 50)
    moods = {letter: dice.choice(("answer",) * 9 + MOODS) for letter in "ab"}
    return {
        "model": f"m{dice.randrange(PAIRS)}",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": tokens,
        "stream": dice.random() < 0.4,
        "stream_options": {"include_usage": True},
        "do": moods,
        "sleep": dice.choice((0, 0, 0.01, 0.05, 0.6 if dice.random() < 0.2 else 0)),
        "tokens": tokens,
        "events": 10,
        "cut": dice.choice((None, None, None, None, 1, 9)),
    }


# --- the books ----------------------------------------------------------------------------------

Row = dict[str, Any]


def nothing_is_open(gateway: LiveGateway) -> bool:
    with closing(sqlite3.connect(gateway.data / "ledger.db")) as ledger:
        [(left,)] = ledger.execute("SELECT count(*) FROM open_entries")
    waits = metric(gateway, "spillgate_settlements_waiting")
    return not left and waits + metric(gateway, "spillgate_in_flight") == 0


def rows_of(gateway: LiveGateway) -> list[Row]:
    with closing(sqlite3.connect(gateway.data / "ledger.db")) as ledger:
        ledger.row_factory = sqlite3.Row
        return [dict(row) for row in ledger.execute("SELECT * FROM entries")]


def check_what_was_told(books: Books, rows: list[Row]) -> None:
    """Call by call; a call that nobody heard the end of has a row all the same, or none where it
    was refused or hung up before it was admitted."""
    booked: dict[str, int] = {}
    for row in rows:
        call = row["id"].partition("#")[0]
        booked[call] = booked.get(call, 0) + row["cost_nano"]
    assert {call: cost for call, cost in books.told.items() if cost != booked.get(call, 0)} == {}
    unheard = booked.keys() - books.told.keys()
    assert len(unheard) <= books.unheard
    assert len({row["id"] for row in rows}) == len(rows)


def check_the_reports(gateway: LiveGateway, rows: list[Row]) -> None:
    total = sum(row["cost_nano"] for row in rows)
    with gateway.client(gateway.admin_key) as admin:
        for group in ("user", "key", "model,backend", "outcome", "kind,day"):
            report = admin.get("/usage", params={"group_by": group}).json()
            assert report["totals"]["cost_nano"] == total
            assert sum(row["cost_nano"] for row in report["rows"]) == total
    assert metric(gateway, "spillgate_cost_usd_total") <= total / NANO * (1 + 1e-9)


async def check_the_counters(redis: RedisServer, rows: list[Row]) -> None:
    """Spent and held together: a hold that was left behind would be seen."""
    store = RedisSharedStore(redis.url, 5.0)
    try:
        for user in ("alice", "bob"):
            own = [row for row in rows if row["user"] == user]
            spent = sum(row["cost_nano"] for row in own)
            device = sum(row["gpu_us"] for row in own)
            assert await used(store, f"user:{user}", "nano_usd", "month") == spent
            assert await used(store, f"user:{user}", "gpu_us", "day") == device
            assert await used(store, f"user:{user}", "concurrent", "") == 0
        key = {row["key_id"] for row in rows if row["user"] == "bob"}.pop()
        cap = int(Decimal(SHORT.split()[0]) * NANO)
        assert await used(store, f"key:{key}", "nano_usd", "month") == spent <= cap
    finally:
        await store.aclose()


async def used(store: RedisSharedStore, scope: str, unit: Unit, window: str) -> int:
    limit = 10**15
    [status] = await store.statuses([Claim(scope, unit, window, limit, 0)])
    return limit - status.remaining


def check_that_all_happened(books: Books, rows: list[Row]) -> None:
    """The dice would else prove less with every change of a constant."""
    assert {200, 402, 429, 502} <= books.statuses
    assert books.cut
    assert books.unheard
    assert {"success", "error", "disconnected"} <= {row["outcome"] for row in rows}
    assert {row["price"] for row in rows if row["cost_nano"]} == {*PRICES, "hours"}
    assert "FAILOVER" in {row["reason"] for row in rows}
