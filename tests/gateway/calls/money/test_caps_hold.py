"""What changes under a call, and what fails beside it, lets it pass no cap and leaks no hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk, Reply, Usage
from gateway.calls.ending import StopCause
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock, settle
from gateway.storage.base import Claim
from gateway.types import ApiError
from tests.gateway.assembled import (
    PATIENCE_S,
    POLICY,
    AssembledGateway,
    assembled,
    read,
)
from tests.gateway.failing_stores import FailingLedger, Trouble
from tests.waiting import until

RUN_ALONE = POLICY.replace("bills: [start, run]", "bills: [run]")
FREE = RUN_ALONE.replace(", spend: 5 USD/month", "")
SMALL = RUN_ALONE.replace("spend: 5 USD/month", "spend: 0.02 USD/month")


async def past_caps(gateway: AssembledGateway) -> float:
    [metric] = gateway.inner.metrics.past_caps.collect()
    return next(s.value for s in metric.samples if s.name.endswith("_total"))


async def left(gateway: AssembledGateway, nano: int) -> int:
    [status] = await gateway.inner.shared.statuses(
        [Claim("user:alice", "nano_usd", "month", nano, 0)]
    )
    return status.remaining


async def test_a_hold_lives_as_long_as_anybody_waits_for_its_call(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A start that takes twice as long as the longest run is a part of that."""
    text = RUN_ALONE.replace("spend: 5 USD", "spend: 0.3 USD").replace(
        "{per_second: 0.001, bills: [run],", "{per_call: 0.2,"
    )
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").queues_for, gateway.fake("burst").runs_for = 190.0, 90.0
        _, task = gateway.start("far")
        await gateway.until_asked("burst")
        for _ in range(27):
            await clock.advance(10.0)
            assert await left(gateway, 300_000_000) == 100_000_000
        await gateway.until_done([task], step=5.0)
        assert await gateway.spent() == 200_000_000


# --- reloads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [RUN_ALONE, FREE], ids=["lowered", "new"])
async def test_a_limit_that_a_reload_brings_stops_a_call_that_runs(
    before: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, before) as gateway:
        gateway.fake("burst").runs_for = 90.0
        _, task = gateway.start("far")
        await gateway.until_asked("burst")
        await clock.advance(5.0)
        await gateway.inner.apply(read(SMALL))
        await gateway.until_done([task], step=0.5)
        error = task.exception()
        assert isinstance(error, ApiError)
        assert error.code == "budget_exhausted"
        assert 5_000_000 <= await gateway.spent() <= 20_000_000
        assert await past_caps(gateway) == 0


async def test_a_limit_that_a_reload_raises_lets_a_call_run_on(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, SMALL) as gateway:
        gateway.fake("burst").runs_for = 60.0
        _, task = gateway.start("far")
        await gateway.until_asked("burst")
        await clock.advance(2.0)
        await gateway.inner.apply(read(RUN_ALONE))
        await gateway.until_done([task], step=0.5)
        await task
        assert await gateway.spent() == 60_000_000


async def test_a_call_in_line_holds_in_the_limits_that_come_meanwhile(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Eight calls of a cent each, on a cap of two."""
    calls = FREE.replace("{per_second: 0.001, bills: [run],", "{per_call: 0.01,").replace(
        "    expect: 1s\n    max_run: 100s", "    concurrency: 1\n    max_run: 100s"
    )
    after = calls.replace("100000/day}", "100000/day, spend: 0.02 USD/month}")
    async with assembled(tmp_path, clock, calls) as gateway:
        gateway.fake("burst").runs_for = 1.0
        tasks = [gateway.start("far")[1] for _ in range(8)]
        await gateway.until_asked("burst")
        await gateway.inner.apply(read(after))
        assert await left(gateway, 20_000_000) == 0
        _, late = gateway.start("far")
        await gateway.until_done([*tasks, late], step=0.5)
        with pytest.raises(ApiError):
            await late


async def test_a_model_that_a_reload_drops_does_not_break_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    after = SMALL.replace("  far: {task: chat, backends: [burst], slo: 20s}\n", "")
    async with assembled(tmp_path, clock, FREE) as gateway:
        gateway.fake("burst").runs_for = 5.0
        _, task = gateway.start("far")
        await gateway.until_asked("burst")
        await gateway.inner.apply(read(after))
        await gateway.until_done([task], step=0.5)
        await task
        assert await left(gateway, 20_000_000) == 15_000_000


TEXT = """
version: 1
server: {tls: "off", access_log: false}
backends:
  paid: {kind: fake, price: tokens}
models:
  chat: {task: chat, backends: [paid]}
prices:
  tokens: {per_million_output: 10, as_of: 2026-11-01, source: test}
plans:
  default: {%s}
"""


@pytest.mark.parametrize("pieces_before", [0, 1, 30], ids=str)
async def test_a_stream_of_tokens_passes_no_cap_that_a_reload_brings(
    pieces_before: int, tmp_path: Path, clock: FakeClock
) -> None:
    """However much of it there was: a backend that heeds no bound, at a cent a thousand tokens."""
    came_so_far, reloaded = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[Chunk]:
        for number in range(400):
            if number == pieces_before:
                came_so_far.set()
                await reloaded.wait()
            await settle()
            yield Chunk(b"data: {}\n\n", tokens=20)

    async with assembled(tmp_path, clock, TEXT % "") as gateway:
        gateway.fake("paid").tell(Reply(chunks=chunks()))
        asked = b'{"model": "chat", "messages": [], "max_tokens": 16, "stream": true}'

        async def read_all() -> StopCause:
            state = gateway.call_state("chat", stream=True, body=asked)
            answer = await gateway.ask(state)
            assert isinstance(answer, SettledStream)
            with contextlib.suppress(asyncio.CancelledError):
                async with answer:
                    async for _ in answer:
                        pass
            return state.stop_cause

        task = asyncio.create_task(read_all())
        async with asyncio.timeout(20):
            await came_so_far.wait()
        await gateway.inner.apply(read(TEXT % "spend: 0.02 USD/month"))
        reloaded.set()
        async with asyncio.timeout(20):
            assert await task == "budget"
        assert await until_spent(gateway) <= 20_000_000
        assert await past_caps(gateway) == 0


async def until_spent(gateway: AssembledGateway) -> int:
    async def has_spent() -> bool:
        return await gateway.spent() > 0

    await until(has_spent, "it is settled")
    return await gateway.spent()


# --- attempts that failed and are charged -----------------------------------------------------

CALLS = """
version: 1
server: {tls: "off", access_log: false}
backends:
  a: {kind: fake, price: small}
  b: {kind: fake, price: small}
  big: {kind: fake, price: large}
models:
  chat: {task: chat, backends: [a, b], larger: long}
  long: {task: chat, backends: [big]}
prices:
  small: {per_call: 0.4, as_of: 2026-11-01, source: test}
  large: {per_call: 0.8, as_of: 2026-11-01, source: test}
routes:
  - {name: all, use: [a, b, big], order: listed}
plans:
  default: {spend: %s USD/month}
"""
CHARGED = BackendError(
    FailureClass.OVERLOADED, "x", status=503, usage=Usage(cost_nano=400_000_000, reported=True)
)
TOO_LONG = BackendError(
    FailureClass.CONTEXT_TOO_LONG, "x", status=400, code="context_length_exceeded"
)
BODY = b'{"model": "chat", "messages": []}'


@pytest.mark.parametrize(("cap", "asked"), [("1", [1, 1, 0]), ("1.2", [1, 1, 1])])
async def test_what_a_failed_attempt_cost_is_no_room_for_the_next(
    cap: str, asked: list[int], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, CALLS % cap) as gateway:
        gateway.fake("a").tell(CHARGED)
        gateway.fake("b").tell(TOO_LONG)
        state, task = gateway.start("chat", body=BODY)
        await asyncio.wait([task], timeout=20)
        assert [len(gateway.fake(name).calls) for name in ("a", "b", "big")] == asked
        assert await gateway.spent() <= float(cap) * 1e9
        assert await past_caps(gateway) == 0
        assert gateway.inner.dispatcher.held == 0
        assert state.ending is not None


DEAR = CALLS.replace("  b: {kind: fake, price: small}", "  b: {kind: fake, price: large}").replace(
    "models:", "  c: {kind: fake, price: small}\nmodels:"
)


async def test_a_dearer_backend_is_left_out_after_a_charged_failure_and_a_cheaper_one_answers(
    tmp_path: Path, clock: FakeClock
) -> None:
    """There is room for 0.50 then: not for 0.80, but for 0.40."""
    text = DEAR.replace("backends: [a, b]", "backends: [a, b, c]").replace(
        "use: [a, b, big]", "use: [a, b, c, big]"
    )
    async with assembled(tmp_path, clock, text % "0.9") as gateway:
        gateway.fake("a").tell(CHARGED)
        state = gateway.call_state("chat", body=BODY)
        await gateway.ask(state)
        assert [len(gateway.fake(name).calls) for name in ("a", "b", "c")] == [1, 0, 1]
        assert dict(state.not_asked)["b"] == "budget"
        assert await gateway.spent() == 800_000_000
        assert await past_caps(gateway) == 0


# --- what leaks nothing -----------------------------------------------------------------------


async def test_a_call_that_nothing_limits_and_that_is_not_asked_is_forgotten(
    tmp_path: Path, clock: FakeClock
) -> None:
    trouble = Trouble()
    ledger = FailingLedger(tmp_path / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S)
    text = RUN_ALONE.partition("plans:")[0] + "plans:\n  default: {}\n"
    async with assembled(tmp_path, clock, text, ledger=ledger.told(trouble)) as gateway:
        trouble.fails("before", "open")
        for _ in range(3):
            with pytest.raises(ApiError):
                await gateway.ask(gateway.call_state("far"))
        assert gateway.inner.dispatcher.held == 0
        trouble.ends()


async def test_an_adapter_whose_stop_has_a_fault_keeps_no_place_and_no_hold(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        fake: Any = gateway.fake("burst")
        fake.runs_for = 50.0

        async def fails(_: str) -> None:
            raise ValueError("a fault of the adapter")

        fake.cancel = fails
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: state.ending is not None, "it is settled")
        assert gateway.inner.active.backends["burst"].in_flight == 0
        assert gateway.inner.dispatcher.held == 0


async def test_work_that_was_promised_and_fails_by_a_fault_keeps_no_hold(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:

        async def rest() -> Usage:
            raise KeyError("a fault of the adapter")

        gateway.fake("burst").tell(Reply(body=b"{}", status=202, rest=rest))
        state = gateway.call_state("far")
        await gateway.ask(state)
        await until(lambda: state.ending is not None, "it is settled")
        assert gateway.inner.active.backends["burst"].in_flight == 0
        assert gateway.inner.dispatcher.held == 0


# --- the bound of an answer -------------------------------------------------------------------

TOKENS = """
version: 1
server: {tls: "off", access_log: false}
backends:
  home: {kind: fake}
  paid: {kind: fake, price: tokens, expect: 10s}
models:
  chat: {task: chat, backends: [home, paid]}
prices:
  tokens: {per_million_output: 10, as_of: 2026-11-01, source: test}
routes:
  - {name: all, use: [%s], order: listed}
plans:
  default: {spend: 1 USD/month, gpu_seconds: 20/day}
"""
ASKED = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("backend", "more", "told", "sent"),
    [
        ("home", {}, None, None),
        ("paid", {}, "4096", 4096),
        ("paid", {"max_tokens": 5}, None, 5),
        ("paid", {"max_tokens": 5, "max_completion_tokens": -1}, "5", 5),
    ],
    ids=str,
)
async def test_a_bound_is_told_where_one_was_sent(
    backend: str,
    more: dict[str, int],
    told: str | None,
    sent: int | None,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    """And tokens that are bought use no seconds of a device."""
    async with assembled(tmp_path, clock, TOKENS % backend) as gateway, gateway.client() as client:
        answer = await client.post("/v1/chat/completions", json=ASKED | more)
        assert answer.status_code == 200
        assert answer.headers.get("x-spillgate-max-tokens") == told
        body = json.loads(gateway.fake(backend).calls[-1].body)
        assert body.get("max_tokens") == sent
        assert "max_completion_tokens" not in body
