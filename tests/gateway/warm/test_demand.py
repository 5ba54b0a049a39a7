"""What the planner sees of the calls that are there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.active_policy import ActivePolicy
from gateway.clock import FakeClock
from gateway.warm.demand import seen_by
from tests.gateway.assembled import assembled


@pytest.mark.parametrize("is_job", [True, False])
async def test_a_job_whose_answer_waits_for_the_store_needs_no_worker(
    is_job: bool, tmp_path: Path, clock: FakeClock
) -> None:
    durable: Any = object()
    async with assembled(tmp_path, clock) as gateway:
        active = gateway.inner.active
        gateway.fake("burst").runs_for = 60.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        begun: Any = state
        [call] = begun._box
        call.durable = durable if is_job else None

        def seen() -> tuple[int, int]:
            backend = active.backends["burst"]
            found, _ = seen_by(active, backend, frozenset({"far"}), [call], clock.monotonic(), {})
            return found.load, found.jobs

        assert seen() == (1, int(is_job))
        call.attempt.progress.ended_at = clock.monotonic()
        assert seen() == ((0, 0) if is_job else (1, 0))
        call.durable = None
        await gateway.until_done([task], 5.0)


SHARED = """
version: 1
server: {tls: "off", access_log: false}
backends:
  home: {kind: fake, slots: 4, region: eu}
  cheap: {kind: fake, price: cheap, cold_start: {p50: 5s, p95: 9s}, region: eu}
  dear: {kind: fake, price: dear, cold_start: {p50: 5s, p95: 9s}, region: us}
models:
  a: {task: chat, backends: [home, cheap, dear], slo: 20s}
  b: {task: chat, backends: [home, cheap], slo: 20s}
prices:
  dear: {per_second: 0.002, as_of: 2026-11-01, source: test}
  cheap: {per_second: 0.001, as_of: 2026-11-01, source: test}
routes:
  - {name: us, when: {user: american}, use: [dear], regions: [us]}
  - {name: any, use: [home, cheap, dear]}
plans:
  default: {requests: 1000/minute, concurrent: 100, spend: 5 USD/month}
"""


@asynccontextmanager
async def shared(folder: Path, clock: FakeClock) -> AsyncIterator[ActivePolicy]:
    async with assembled(folder, clock, SHARED) as gateway:
        yield gateway.inner.active


def calls_of(active: ActivePolicy, said: Sequence[tuple[str, str, str]]) -> list[Any]:
    """(Model, route, where it runs; empty: it waits) of each."""
    calls: list[Any] = []
    for model, route, at in said:
        attempt = None
        if at:
            active.backends[at].queue.add()
            progress = SimpleNamespace(ended_at=inf)
            attempt = SimpleNamespace(backend=active.backends[at], progress=progress)
        call = SimpleNamespace(model=model)
        calls.append(
            SimpleNamespace(call=call, route=route, attempt=attempt, durable=None, received=inf)
        )
    return calls


WAITS = ("a", "any", "")


@pytest.mark.parametrize(
    ("calls", "planned", "seen"),
    [
        pytest.param([WAITS], {}, (1, 4), id="slots of a reserved one"),
        pytest.param([WAITS, ("b", "any", "home")], {}, (1, 3), id="less what others run there"),
        pytest.param([WAITS] + 3 * [("b", "any", "cheap")], {}, (1, 4), id="nor at a platform"),
        pytest.param([WAITS, ("a", "any", "cheap")], {}, (2, 5), id="but its own"),
        pytest.param([WAITS], {"cheap": 2}, (1, 6), id="and what is planned there"),
        pytest.param([("a", "us", "")], {"cheap": 2}, (1, 0), id="of use to calls that may go"),
        pytest.param(
            [("a", "us", ""), *2 * [WAITS]], {"cheap": 2}, (3, 4), id="and to no more than these"
        ),
        pytest.param([("a", "gone", "")], {}, (1, 4), id="whose route a reload has taken out"),
    ],
)
async def test_what_others_will_run_is_what_calls_may_take_there(
    calls: list[tuple[str, str, str]],
    planned: dict[str, int],
    seen: tuple[int, int],
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    """(Load, slots elsewhere) for the model at the dear platform."""
    async with shared(tmp_path, clock) as active:
        states, dear = calls_of(active, calls), active.backends["dear"]
        found, elsewhere = seen_by(
            active, dear, frozenset({"a"}), states, clock.monotonic(), planned
        )
        assert (found.load, elsewhere) == seen


async def test_calls_that_may_not_go_there_are_no_load(tmp_path: Path, clock: FakeClock) -> None:
    async with shared(tmp_path, clock) as active:
        states, cheap = calls_of(active, [WAITS, ("a", "us", "")]), active.backends["cheap"]
        found, _ = seen_by(active, cheap, frozenset({"a"}), states, clock.monotonic(), {})
        assert (found.load, found.waiting) == (1, 1)
