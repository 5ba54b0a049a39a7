"""Gateways that share keys, ledger and a Redis, and callers who keep asking them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.e2e.observing import metric
from tests.live import LiveGateway

CONFIG = """
backends:
  paid: {{kind: openai, base_url: "{url}", price: calls}}
models:
  chat: {{task: chat, backends: [paid]}}
prices:
  calls: {{per_call: 0.001, as_of: 2026-11-01, source: test}}
"""
_NUMBERS = itertools.count(1)


def gateway_of(
    place: Path, name: str, backend: str, redis: str, store: Mapping[str, object]
) -> LiveGateway:
    """Not started yet. ``store``: settings of the policy's, beside where rows and limits are."""
    folder = place / name
    folder.mkdir()
    return LiveGateway(
        folder,
        CONFIG.format(url=backend),
        server={"data": str(place / "data"), "access_log": False},
        store={"ledger": f"sqlite:///{place}/data/ledger.db", "shared": redis, **store},
    )


def failing(gateway: LiveGateway) -> bool:
    return metric(gateway, "spillgate_shared_store_failing") == 1


def well(gateway: LiveGateway) -> bool:
    return not failing(gateway)


def know_each_other(gateway: LiveGateway) -> bool:
    return metric(gateway, "spillgate_gateways") == 2


def asked() -> dict[str, object]:
    """The body of a call that no other has."""
    text = f"{next(_NUMBERS)}"
    return {"model": "chat", "messages": [{"role": "user", "content": text}]}


async def chat(client: httpx.AsyncClient, *, within_s: float) -> int:
    """The status of one call, whatever has died."""
    answer = await client.post("/v1/chat/completions", json=asked(), timeout=within_s)
    return answer.status_code


async def keep_asking(
    client: httpx.AsyncClient, seen: list[int], ended: asyncio.Event, *, within_s: float
) -> None:
    """One call after the other."""
    while not ended.is_set():
        seen.append(await chat(client, within_s=within_s))
