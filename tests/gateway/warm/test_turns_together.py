"""However many platforms serve a model: together they start no more than there are calls, beside
what each keeps in any case and what does not fill a worker."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from gateway.clock import FakeClock
from tests.gateway.assembled import assembled
from tests.gateway.warm.test_turns import passes

SEEDS = range(8)

LONGEST = 40
"""Looks of a quarter of a second: calls wait longer for a worker. A platform is told by way of a
thread, which has the time that the machine has for it."""
ALL = 16
"""Looks by which a platform would have been told of too much."""

HEAD = """
version: 1
server: {tls: "off", access_log: false}
plans:
  default: {requests: 1000/minute, concurrent: 100, spend: 5 USD/month}
"""


class Platform(msgspec.Struct, frozen=True):
    """One backend of a made-up policy."""

    name: str
    nanos: int
    """A second's price, in thousandths of a dollar."""
    most: int
    spare: int
    each: int
    """Calls that a worker runs at once."""
    plan: str = "act"


def policy(platforms: list[Platform], models: dict[str, list[str]]) -> str:
    text = [HEAD, "backends:"]
    for one in platforms:
        starts = "cold_start: {p50: 5s, p95: 9s}, idle_timeout: 60s, expect: 1s"
        text.append(f"  {one.name}: {{kind: fake, price: {one.name}, {starts}}}")
    text.append("models:")
    for model, names in models.items():
        text.append(f"  {model}: {{task: chat, backends: [{', '.join(names)}], slo: 20s}}")
    text.append("prices:")
    for one in platforms:
        rate = f"{one.nanos / 1000:.3f}"
        dated = "bills: [start, run], as_of: 2026-11-01, source: test"
        text.append(f"  {one.name}: {{per_second: {rate}, {dated}}}")
    text.append("warm_pool:")
    for one in platforms:
        bounds = f"most: {one.most}, spare: {one.spare}, calls_per_worker: {one.each}"
        text.append(f"  {one.name}: {{plan: {one.plan}, {bounds}}}")
    return "\n".join(text) + "\n"


async def kept(
    folder: Path,
    platforms: list[Platform],
    models: dict[str, list[str]],
    calls: dict[str, int],
    enough: int,
) -> dict[str, int]:
    """Workers that each platform is told to keep while nothing has started yet: at the look at
    which all of them together are told of most. ``enough``: calls for which there must be some."""
    clock = FakeClock()
    async with assembled(folder, clock, policy(platforms, models)) as gateway:
        for one in platforms:
            gateway.fake(one.name).warm_workers = 0
        await passes(gateway, 12.0)
        tasks = [gateway.start(model)[1] for model, count in calls.items() for _ in range(count)]
        most: dict[str, int] = {}
        for look in range(LONGEST):
            await passes(gateway, 0.25)
            told = {one.name: gateway.fake(one.name).minimum or 0 for one in platforms}
            if run_by(platforms, told) >= run_by(platforms, most):
                most = told
            if look >= ALL and run_by(platforms, most) >= enough:
                break
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return most


def run_by(platforms: list[Platform], told: dict[str, int]) -> int:
    """Calls that workers of the platforms which follow their plan run at once."""
    return sum(told.get(one.name, 0) * one.each for one in platforms if one.plan == "act")


def made_up(seed: int) -> tuple[list[Platform], dict[str, list[str]], dict[str, int]]:
    rng = random.Random(seed)
    platforms = [
        Platform(
            name,
            rng.randint(1, 4),
            rng.randint(1, 6),
            rng.choice([0, 0, 1]),
            each,
            rng.choice(["act", "act", "act", "observe"]),
        )
        for name, each in zip("abcd", rng.choices([1, 1, 2, 4], k=4), strict=True)
    ][: rng.randint(2, 4)]
    names = [one.name for one in platforms]
    models = {"first": names}
    if rng.random() < 0.5:
        models["second"] = rng.sample(names, rng.randint(1, len(names)))
    return platforms, models, {model: rng.randint(1, 8) for model in models}


@pytest.mark.parametrize("seed", SEEDS)
async def test_platforms_start_no_more_than_calls_need(seed: int, tmp_path: Path) -> None:
    platforms, models, calls = made_up(seed)
    acting = [one for one in platforms if one.plan == "act"]
    room = sum(one.most * one.each for one in acting)
    enough = min(calls["first"], room)
    told = await kept(tmp_path, platforms, models, calls, enough)
    beside = 0
    for one in acting:
        assert one.spare <= told[one.name] <= max(one.most, one.spare)
        served = sum(one.name in names for names in models.values())
        beside += one.spare * one.each + (one.each - 1) * served
    for one in platforms:
        if one.plan == "observe":
            assert told[one.name] == one.spare, "its plan is only looked at"
    assert enough <= run_by(platforms, told) <= sum(calls.values()) + beside
