"""A cold start that is nobody's to pay: it is in a row of its own, and the rows make the bill."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.errors import BackendError, FailureClass
from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from gateway.money.committed import IDLE
from gateway.money.pricing import charge
from gateway.storage.base import Claim, LedgerRow
from gateway.storage.queries import CallsQuery, UsageQuery
from tests.gateway.assembled import NO_OUTPUT, POLICY, AssembledGateway, assembled

OVERHEAD = POLICY.replace("idle_timeout: 60s", "idle_timeout: 60s\n    start_paid_by: overhead")
"""A thousandth of a dollar a second, of starts too."""


def answer(**used: float | int) -> Reply:
    return Reply(body=b"{}", usage=Usage(reported=True, **used))  # type: ignore[arg-type]


async def rows(gateway: AssembledGateway) -> list[LedgerRow]:
    """Calls, attempts and starts, in the order of their names."""
    found = await gateway.inner.ledger.calls(CallsQuery(rows=UsageQuery(), most=100))
    return sorted(found, key=lambda row: row.id)


async def left(gateway: AssembledGateway) -> int:
    claim = Claim("user:alice", "nano_usd", "month", 5_000_000_000, 0)
    [status] = await gateway.inner.shared.statuses([claim])
    return status.remaining


async def test_it_is_taken_out_of_the_call_that_waited_for_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, OVERHEAD) as gateway:
        gateway.fake("burst").tell(answer(exec_s=2.0, cold_s=4.0))
        state = gateway.call_state("far", preferences=NO_OUTPUT)
        await gateway.ask(state)
        call, start = await rows(gateway)
        assert (call.cost_nano, call.cold_us, call.user) == (2_000_000, 4_000_000, "alice")
        assert (start.cost_nano, start.gpu_us, start.user) == (4_000_000, 4_000_000, IDLE)
        assert (start.kind, start.reason, start.id) == ("idle", "cold_start", f"start_{call.id}")
        assert state.cost_nano == 2_000_000
        assert await left(gateway) == 5_000_000_000 - 2_000_000


async def test_as_a_rule_it_is_the_calls(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").tell(answer(exec_s=2.0, cold_s=4.0))
        await gateway.ask(gateway.call_state("far"))
        [call] = await rows(gateway)
        assert call.cost_nano == 6_000_000


async def test_of_a_figure_that_the_platform_states_all_is_the_calls(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, OVERHEAD) as gateway:
        gateway.fake("burst").tell(answer(exec_s=2.0, cold_s=4.0, cost_nano=77))
        await gateway.ask(gateway.call_state("far"))
        [call] = await rows(gateway)
        assert call.cost_nano == 77


async def test_a_call_to_a_warm_worker_has_none(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, OVERHEAD) as gateway:
        gateway.fake("burst").tell(answer(exec_s=2.0))
        await gateway.ask(gateway.call_state("far"))
        [call] = await rows(gateway)
        assert call.cost_nano == 2_000_000


async def test_an_attempt_that_failed_has_its_own(tmp_path: Path, clock: FakeClock) -> None:
    """Its call goes on elsewhere, and pays for what ran."""
    text = OVERHEAD.replace(
        "far: {task: chat, backends: [burst], slo: 20s}",
        "far: {task: chat, backends: [burst, home], slo: 20s}",
    ) + (
        "routes: [{name: all, use: [burst, home], order: listed, repeat: always, idempotent: true}]"
    )
    async with assembled(tmp_path, clock, text) as gateway:
        used = Usage(exec_s=2.0, cold_s=4.0, reported=True)
        gateway.fake("burst").tell(BackendError(FailureClass.FAILED, "it broke", usage=used))
        gateway.fake("home").tell(answer(exec_s=1.0))
        state = gateway.call_state("far")
        await gateway.ask(state)
        call, attempt, start = await rows(gateway)
        assert (attempt.id, attempt.cost_nano) == (f"{call.id}#1", 2_000_000)
        assert (start.id, start.cost_nano) == (f"start_{attempt.id}", 4_000_000)
        assert await left(gateway) == 5_000_000_000 - 2_000_000 - call.cost_nano


SECONDS = st.floats(0.0, 900.0, allow_nan=False)


async def charged(folder: Path, text: str, used: list[tuple[float, float]]) -> tuple[int, int]:
    """Nano-dollars of all rows, and of the platform's bill, for calls that ran and started for so
    many seconds."""
    async with assembled(folder, FakeClock(), text) as gateway:
        price = gateway.inner.active.backends["burst"].price
        for exec_s, cold_s in used:
            gateway.fake("burst").tell(answer(exec_s=exec_s, cold_s=cold_s))
            await gateway.ask(gateway.call_state("far"))
        bill = sum(charge(price, Usage(exec_s=run, cold_s=cold)) for run, cold in used)
        return sum(row.cost_nano for row in await rows(gateway)), bill


@pytest.mark.parametrize("rule", ["to_cause", "overhead"])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    used=st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=6),
    rate=st.integers(1, 10**7),
    more=st.sampled_from(["", ", minimum: 10s", ", round_up: 1s", ", minimum: 5s, round_up: 7s"]),
)
def test_users_and_overhead_are_the_bill_to_the_nano_dollar(
    rule: str,
    used: list[tuple[float, float]],
    rate: int,
    more: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    text = OVERHEAD.replace("start_paid_by: overhead", f"start_paid_by: {rule}")
    text = text.replace("per_second: 0.001", f"per_second: {rate / 1e9:.9f}{more}")
    text = text.replace("spend: 5 USD/month", "spend: 5000 USD/month")
    found, bill = asyncio.run(charged(tmp_path_factory.mktemp("starts"), text, used))
    assert found == bill
