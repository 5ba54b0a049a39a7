"""Short words for the tests of the shared stores: claims, and calls that must go one way."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.clock import FakeClock
from gateway.storage.base import Admitted, Claim, Refused, SharedStore
from gateway.types import NANO
from tests.gateway.storage.conftest import OpenStore

CENT = NANO // 100


def rate(scope: str, limit: int, window: str = "minute") -> Claim:
    return Claim(scope, "requests", window, limit, 1)


def money(scope: str, limit: int, take: int, window: str = "month", surplus: int = 0) -> Claim:
    return Claim(scope, "nano_usd", window, limit, take, surplus)


def device(scope: str, limit: int, take: int, window: str = "day") -> Claim:
    return Claim(scope, "gpu_us", window, limit, take)


def concurrent(scope: str, limit: int) -> Claim:
    return Claim(scope, "concurrent", "", limit, 1)


@asynccontextmanager
async def opened(open_store: OpenStore) -> AsyncIterator[SharedStore]:
    store = open_store()
    try:
        yield store
    finally:
        await store.aclose()


async def admit(store: SharedStore, name: str, *claims: Claim, ttl: float = 600.0) -> Admitted:
    answer = await store.admit(name, claims, ttl)
    assert isinstance(answer, Admitted), answer
    return answer


async def refuse(store: SharedStore, name: str, *claims: Claim, ttl: float = 600.0) -> Refused:
    answer = await store.admit(name, claims, ttl)
    assert isinstance(answer, Refused), answer
    return answer


async def left(store: SharedStore, claim: Claim) -> int:
    (status,) = await store.statuses([claim])
    return status.remaining


def at(clock: FakeClock, text: str) -> None:
    """Moves the clock on to a date and time, UTC."""
    wanted = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp()
    assert wanted >= clock.time()
    clock.move(wanted - clock.time())
