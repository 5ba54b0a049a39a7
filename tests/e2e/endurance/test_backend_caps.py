"""A thousand calls at once through two gateways to a backend whose own cap fits a hundred: it does
as many, and another one the rest."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.endurance.wires import Wire, chat_request, upstream, wires
from tests.live import LiveGateway
from tests.redis_server import RedisServer, require_redis
from tests.waiting import until

ROUNDS = 50 if os.environ.get("SPILLGATE_SOAK") == "long" else 2
CALLS, FIT, AT_LEAST = 1_000, 100, 97
GATEWAYS = 2


def config(url: str) -> str:
    """Each round has backends and a model of its own."""
    lines = ["backends:"]
    for n in range(ROUNDS):
        lines.append(f'  paid{n}: {{kind: openai, base_url: "{url}", price: calls}}')
        lines.append(f'  rest{n}: {{kind: openai, base_url: "{url}"}}')
    lines.append("models:")
    lines += [f"  chat{n}: {{task: chat, backends: [paid{n}, rest{n}]}}" for n in range(ROUNDS)]
    lines.append("prices: {calls: {per_call: 0.001, as_of: 2026-11-01, source: test}}")
    lines.append("routes: [{name: all, order: listed, use: [")
    lines.append(", ".join(f"paid{n}, rest{n}" for n in range(ROUNDS)) + "]}]")
    limits = ", ".join(f"paid{n}: {{spend: {FIT / 1000} USD/month}}" for n in range(ROUNDS))
    lines.append(f"limits: {{backends: {{{limits}}}}}")
    lines.append("plans: {default: {concurrent: 5000}}")
    return "\n".join(lines) + "\n"


@pytest.mark.soak
def test_a_backends_cap_is_used_up_and_never_passed(tmp_path: Path) -> None:
    require_redis()
    asyncio.run(_play(tmp_path))


async def _play(folder: Path) -> None:
    async with upstream(takes_s=0.02) as url:
        with contextlib.ExitStack() as stack:
            redis = stack.enter_context(RedisServer())
            gateways = [_gateway(folder, n, url, redis.url) for n in range(GATEWAYS)]
            for gateway in gateways:
                await asyncio.to_thread(stack.enter_context, gateway)
            key = gateways[0].user_key
            await until(lambda: _knows(gateways[-1], key), "the key is known", every_s=0.1)
            lines = [await wires(one.port, CALLS // GATEWAYS, key) for one in gateways]
            for number in range(ROUNDS):
                await _round(number, key, lines, gateways[0])
            for wire in (wire for line in lines for wire in line):
                wire.close()


def _gateway(folder: Path, number: int, url: str, redis: str) -> LiveGateway:
    place = folder / f"g{number}"
    place.mkdir()
    server = {"access_log": False, "data": str(folder / "data")}
    store = {"ledger": f"sqlite:///{folder}/data/ledger.db", "timeout": "5s", "shared": redis}
    return LiveGateway(place, config(url), server=server, store=store)


async def _knows(gateway: LiveGateway, key: str) -> bool:
    async with gateway.async_client(key) as client:
        return bool((await client.get("/v1/me")).status_code == 200)


async def _round(number: int, key: str, lines: list[list[Wire]], gateway: LiveGateway) -> None:
    request = chat_request(key, f"chat{number}")
    heard = await asyncio.gather(*(wire.ask(request) for line in lines for wire in line))
    assert collections.Counter((one.status, one.code) for one in heard) == {(200, ""): CALLS}
    done = await _done(gateway, f"chat{number}")
    paid, rest = done[f"paid{number}"], done[f"rest{number}"]
    assert AT_LEAST <= paid["calls"] <= FIT, done
    assert paid["cost_nano"] == paid["calls"] * 1_000_000
    assert (paid["calls"] + rest["calls"], rest["cost_nano"]) == (CALLS, 0)


async def _done(gateway: LiveGateway, model: str) -> dict[str, dict[str, Any]]:
    """By backend."""
    async with gateway.async_client(gateway.admin_key) as client:
        rows = (await client.get(f"/usage?group_by=backend&model={model}")).json()["rows"]
    return {row["backend"]: row for row in rows}
