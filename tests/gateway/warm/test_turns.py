"""Several platforms that serve the same models start what one of them alone would, between them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Probe
from gateway.clock import FakeClock, settle
from gateway.storage.memory import MemorySharedStore
from gateway.warm.lead import LASTS_S
from tests.gateway.assembled import AssembledGateway, assembled, read

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


ALSO = policy(most=3).replace(
    "  other:", "  near: {task: chat, backends: [cheap], slo: 20s}\n  other:"
)
"""The cheap one runs calls of another model, too."""


async def test_one_that_has_not_enough_for_all_its_models_is_counted_on_for_a_part(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Three workers for six calls of two models: the dear one has at least one for each call that
    it alone can take besides."""
    async with assembled(tmp_path, clock, ALSO) as gateway:
        await passes(gateway, 16.0)
        near = [gateway.start("near")[1] for _ in range(3)]
        cheap, dear = await told(gateway, 3)
        assert (cheap, dear) == (3, 2)
        for task in near:
            task.cancel()
        await asyncio.gather(*near, return_exceptions=True)


@pytest.mark.parametrize("fails", ["limit", "platform"])
async def test_one_that_starts_none_is_counted_on_again_when_it_has_started_some(
    fails: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Not when it is tried again: what others start meanwhile would be called off."""
    text = policy()
    if fails == "limit":
        text += "limits: {backends: {cheap: {spend: 0.0001 USD/day}}}\n"
    async with assembled(tmp_path, clock, text) as gateway:
        if fails == "platform":
            gateway.fake("cheap").cannot_scale = BackendError(FailureClass.UNREACHABLE, "away")
        await passes(gateway, 16.0)
        cheap, dear = (gateway.inner.active.backends[name] for name in ("cheap", "dear"))
        gateway.fake("dear").warm_workers = gateway.fake("cheap").warm_workers = 0
        tasks = [gateway.start("far")[1] for _ in range(4)]
        await passes(gateway, 1.0)
        for _ in range(140):
            assert not cheap.workers.started_ahead
            await passes(gateway, 0.5)
            gateway.fake("dear").warm_workers = gateway.fake("dear").minimum
        assert dear.workers.started_ahead
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_nothing_is_kept_where_no_call_may_go_now(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        await passes(gateway, 16.0)
        cheap = gateway.inner.active.backends["cheap"]
        gateway.fake("dear").warm_workers = gateway.fake("cheap").warm_workers = 0
        tasks = [gateway.start("far")[1] for _ in range(4)]
        await passes(gateway, 1.5)
        assert (gateway.fake("cheap").minimum, gateway.fake("dear").minimum) == (4, None)

        async def stuck() -> Probe:
            return Probe(ready=False, stuck=True)

        gateway.fake("cheap").probe = stuck  # type: ignore[method-assign]
        cheap.probed(await stuck())
        await passes(gateway, 3.0)
        assert (gateway.fake("cheap").minimum, gateway.fake("dear").minimum) == (0, 4)
        assert gateway.inner.plans is not None
        look = gateway.inner.plans.last("cheap")
        assert look is not None
        assert look.minimum.because == "away"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_platform_that_a_reload_takes_out_keeps_nothing_and_the_next_one_takes_over(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Calls on a route that is gone with it are planned for all the same."""
    route = "routes:\n  - {name: NAME, use: [cheap, dear]}\n"
    async with assembled(tmp_path, clock, policy() + route.replace("NAME", "old")) as gateway:
        await passes(gateway, 16.0)
        cheap = gateway.fake("cheap")
        gateway.fake("dear").warm_workers = cheap.warm_workers = 0
        tasks = [gateway.start("far")[1] for _ in range(4)]
        await passes(gateway, 1.5)
        assert cheap.minimum == 4
        text = policy() + route.replace("NAME", "new")
        left = [line for line in text.splitlines() if not line.startswith("  cheap: {")]
        await gateway.inner.apply(
            read("\n".join(left).replace(", cheap]", "]").replace("[cheap, ", "["))
        )
        await passes(gateway, 3.0)
        assert (cheap.minimum, gateway.fake("dear").minimum) == (0, 4)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_gateway_that_takes_over_tells_what_is_to_be_kept_and_the_other_one_forgets_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What was told by the one that led is the other's to take back, and is charged by nobody
    twice."""
    shared = MemorySharedStore(clock)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    async with (
        assembled(tmp_path / "first", clock, policy(), shared=shared) as first,
        assembled(tmp_path / "second", clock, policy(), shared=shared) as second,
    ):
        for one in (first, second):
            one.fake("cheap").warm_workers = one.fake("dear").warm_workers = 0
        await passes(first, 16.0)
        assert first.inner.plans is not None
        assert second.inner.plans is not None
        leads = first if first.inner.plans.lead.leads else second
        follows = second if leads is first else first
        assert (await told(leads, 4))[0] == 4
        plans = leads.inner.plans
        assert plans is not None
        await plans.lead.give_up()
        plans.lead._asked = clock.monotonic() + LASTS_S
        await passes(first, 12.0)
        assert follows.fake("cheap").minimum == 0, "it may be another number by now"
        leads.fake("cheap").minimum = 7
        await passes(first, LASTS_S)
    assert leads.fake("cheap").minimum == 7
