"""A thousand calls at once on a cap that fits a hundred: however many gateways share it, and
whatever they keep it in, it is used up and never passed."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.endurance.wires import Heard, Wire, chat_request, upstream, wires
from tests.live import LiveGateway
from tests.postgres_server import PostgresServer, require_postgres
from tests.redis_server import RedisServer, require_redis
from tests.waiting import until

ROUNDS = 50 if os.environ.get("SPILLGATE_SOAK") == "long" else 2
CALLS, FIT, AT_LEAST = 1_000, 100, 97

Section = dict[str, Any]
CONFIG = """
backends:
  paid: {{kind: openai, base_url: "{url}", price: calls}}
models:
  chat: {{task: chat, backends: [paid]}}
prices:
  calls: {{{price}, as_of: 2026-11-01, source: test}}
"""
PRICES = {1: "per_call: 0.001", 4: "per_million_output: 1000"}
"""By how many times as much is held for a call as it costs: of tokens one is written of four."""
KEY: dict[str, Any] = {"limits": {"spend": f"{FIT / 1000} USD/month", "concurrent": CALLS}}


class Placed(NamedTuple):
    """What the gateways keep their limits and rows in, and how many they are."""

    shared: str
    ledger: str
    gateways: int
    held: int = 1
    """How many times as much is held for a call as it costs."""
    workers: int = 1
    """Processes that each gateway serves from."""


PLACES = [
    Placed(shared, ledger, gateways)
    for ledger in ("sqlite", "postgres")
    for shared, gateways in (("memory", 1), ("redis", 1), ("redis", 2), ("redis", 4))
]
PLACES += [Placed("memory", "sqlite", 1, held=4), Placed("redis", "sqlite", 2, held=4)]
PLACES += [
    Placed(shared, ledger, 1, workers=workers)
    for ledger in ("sqlite", "postgres")
    for shared in ("memory", "redis")
    for workers in (2, 4)
]
PLACES.append(Placed("memory", "sqlite", 1, held=4, workers=2))


def _name(one: Placed) -> str:
    several = f"-workers{one.workers}" if one.workers > 1 else ""
    held = "-held4" if one.held > 1 else ""
    return f"{one.shared}-{one.ledger}-{one.gateways}{several}{held}"


@pytest.fixture(params=PLACES, ids=_name)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Placed, Section]]:
    """Where, and the policy's section ``store``."""
    placed: Placed = request.param
    with contextlib.ExitStack() as stack:
        store: dict[str, Any] = {"ledger": f"sqlite:///{tmp_path}/data/ledger.db", "timeout": "5s"}
        if placed.shared == "redis":
            require_redis()
            store["shared"] = stack.enter_context(RedisServer()).url
        if placed.ledger == "postgres":
            require_postgres()
            store |= {"ledger": stack.enter_context(PostgresServer()).url(), "ledger_timeout": "5s"}
        yield placed, store


@pytest.mark.soak
def test_a_thousand_calls_at_once_use_a_cap_up_and_never_pass_it(
    stores: tuple[Placed, Section], tmp_path: Path
) -> None:
    """Served are at least 97 of the 100 that fit, the others are told why, and nothing is held
    afterwards."""
    served = asyncio.run(_served(*stores, tmp_path))
    assert min(served) >= AT_LEAST, served


async def _served(placed: Placed, store: Section, tmp_path: Path) -> list[int]:
    """In each round."""
    count, request = placed.gateways, partial(chat_request, max_tokens=placed.held)
    async with upstream(takes_s=0.02) as url:
        with contextlib.ExitStack() as stack:
            config = CONFIG.format(url=url, price=PRICES[placed.held])
            gateways = [
                _gateway(tmp_path / f"g{n}", config, store, placed.workers) for n in range(count)
            ]
            for gateway in gateways:
                await asyncio.to_thread(stack.enter_context, gateway)
            keys = await _keys(gateways)
            lines = [await wires(one.port, CALLS // count, keys[0][1]) for one in gateways]
            served = [await _round(key, request(key[1]), lines, gateways) for key in keys]
            for wire in (wire for line in lines for wire in line):
                wire.close()
    return served


def _gateway(place: Path, config: str, store: Section, workers: int) -> LiveGateway:
    """Of one machine: keys and data are shared."""
    place.mkdir()
    server = {"access_log": False, "data": str(place.parent / "data")}
    return LiveGateway(place, config, server=server, store=store, workers=workers)


async def _keys(gateways: list[LiveGateway]) -> list[tuple[str, str]]:
    """(user, key) of each round, known to all gateways."""
    admin = gateways[0].admin_key
    made: list[tuple[str, str]] = []
    async with gateways[0].async_client(admin) as client:
        for number in range(ROUNDS):
            asked = {"user": f"user{number}", **KEY}
            made.append(
                (asked["user"], (await client.post("/admin/keys", json=asked)).json()["key"])
            )
    for gateway in gateways:
        async with gateway.async_client(made[-1][1]) as client:

            async def is_known(client: Any = client) -> bool:
                return bool((await client.get("/v1/me")).status_code == 200)

            await until(is_known, "the keys are known", every_s=0.1)
    return made


async def _round(
    user_key: tuple[str, str],
    request: bytes,
    lines: list[list[Wire]],
    gateways: list[LiveGateway],
) -> int:
    """How many were served."""
    user, key = user_key
    heard = await asyncio.gather(*(wire.ask(request) for line in lines for wire in line))
    served = _told(heard)
    admin = gateways[0].admin_key
    async with gateways[-1].async_client(admin) as client:
        rows = (await client.get(f"/usage?group_by=user,outcome&user={user}")).json()["rows"]
    settled = {row["outcome"]: (row["calls"], row["cost_nano"]) for row in rows}
    assert settled == {"success": (served, served * 1_000_000)}
    assert served <= FIT
    async with gateways[-1].async_client(key) as client:
        limits = (await client.get("/v1/me")).json()["limits"]
    left = {one["unit"]: one["remaining"] for one in limits}
    assert left == {"usd": pytest.approx((FIT - served) / 1000), "concurrent": CALLS}
    return served


def _told(heard: list[Heard]) -> int:
    told = collections.Counter((one.status, one.code) for one in heard)
    assert set(told) <= {(200, ""), (402, "budget_exhausted")}, told
    return told[200, ""]
