"""Several platforms that serve the same models start what one of them alone would, between them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.clock import FakeClock, settle
from tests.gateway.assembled import AssembledGateway, assembled

POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  dear: {kind: fake, price: dear, cold_start: {p50: 5s, p95: 9s}, idle_timeout: 60s, expect: 1s}
  cheap: {kind: fake, price: cheap, cold_start: {p50: START}, expect: 1s}
models:
  far: {task: chat, backends: [dear, cheap], slo: 20s}
  other: {task: chat, backends: [dear], slo: 20s}
prices:
  dear: {per_second: 0.002, bills: [start, run], as_of: 2026-11-01, source: test}
  cheap: {per_second: 0.001, bills: [start, run], as_of: 2026-11-01, source: test}
plans:
  default: {requests: 1000/minute, concurrent: 100, spend: 5 USD/month}
warm_pool:
  dear: {plan: act, most: 9}
  cheap: {plan: act, most: MOST, calls_per_worker: EACH}
"""


def policy(*, start: str = "5s, p95: 9s", most: int = 9, each: int = 1) -> str:
    text = POLICY.replace("START", start).replace("MOST", str(most))
    return text.replace("EACH", str(each))


async def passes(gateway: AssembledGateway, seconds: float) -> None:
    for _ in range(round(seconds / 0.25)):
        await gateway.clock.advance(0.25)
        await asyncio.sleep(0.001)
        await settle()


async def told(gateway: AssembledGateway, calls: int, model: str = "far") -> tuple[int, int]:
    """(Workers that the cheap platform is told to keep for so many calls, those of the dear
    one), at most, within the time that a start takes."""
    for name in ("cheap", "dear"):
        gateway.fake(name).warm_workers = 0
    tasks = [gateway.start(model)[1] for _ in range(calls)]
    most = {"cheap": 0, "dear": 0}
    for _ in range(16):
        await passes(gateway, 0.25)
        most = {name: max(count, gateway.fake(name).minimum or 0) for name, count in most.items()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return most["cheap"], most["dear"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(policy(), (4, 0), id="the cheap one has room for all"),
        pytest.param(policy(each=4), (1, 0), id="a worker of it runs four at once"),
        pytest.param(policy(most=1), (1, 3), id="it has room for one"),
    ],
)
async def test_the_cheapest_is_planned_first_and_the_next_one_for_what_is_left(
    text: str, expected: tuple[int, int], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, text) as gateway:
        await passes(gateway, 16.0)
        assert await told(gateway, 4) == expected


async def test_one_whose_starts_come_too_late_is_not_counted_on(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(start="60s, p95: 90s")) as gateway:
        await passes(gateway, 16.0)
        _, dear = await told(gateway, 4)
        assert dear == 4


async def test_one_that_is_drained_is_counted_on_by_nobody(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        gateway.inner.active.backends["cheap"].draining = True
        await passes(gateway, 16.0)
        cheap, dear = await told(gateway, 4)
        assert (cheap, dear >= 4) == (0, True)


async def test_calls_that_it_does_not_serve_are_none_of_its_matter(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        await passes(gateway, 16.0)
        assert await told(gateway, 4, "other") == (0, 4)
