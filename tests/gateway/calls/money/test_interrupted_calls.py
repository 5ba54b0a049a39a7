"""What a call may have cost that its gateway's death cut off is in its row, limited or not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from gateway.calls.top_up import ROW_AHEAD_S
from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from tests.gateway.assembled import ALICE, POLICY, AssembledGateway, assembled
from tests.waiting import until

LIMITED = POLICY.partition("  default: {")[0] + "  default: {spend: 5 USD/month}\n"
PLANS = {
    "money": LIMITED,
    "requests": LIMITED.replace("spend: 5 USD/month", "requests: 1000/minute"),
    "nothing": LIMITED.replace("{spend: 5 USD/month}", "{}"),
}
"""By what limits the caller."""
HELD_NANO = 12 * 1_000_000
"""A start that takes its longest, and three seconds of running, at 0.001 USD a second."""


@pytest.mark.parametrize("limits", PLANS)
async def test_a_call_that_its_gateway_left_open_is_charged_what_was_foreseen(
    limits: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, PLANS[limits]) as gateway:
        left = await _open_row(gateway)
    assert left.hold_nano == HELD_NANO
    async with assembled(tmp_path, clock, PLANS[limits]) as gateway:
        await gateway.inner.settler.interrupt(left)
        row = await gateway.row(left.id)
    assert (row.outcome, row.cost_nano, row.cost_basis) == ("interrupted", HELD_NANO, "estimated")


async def _open_row(gateway: AssembledGateway) -> LedgerRow:
    """That of a call which a backend works on; its gateway's death would leave it so."""
    gateway.fake("burst").runs_for = 2.0
    state, task = gateway.start("far")
    await gateway.until_asked("burst")
    [open] = await gateway.inner.ledger.open_rows()
    await gateway.until_done([task], 1.0)
    assert (open.id, open.user) == (state.call.id, ALICE.user)
    return msgspec.structs.replace(open, id="another")


@pytest.mark.parametrize("limits", ["requests", "nothing"])
async def test_the_row_of_a_long_call_that_no_money_limits_says_what_it_may_have_spent(
    limits: str, tmp_path: Path, clock: FakeClock
) -> None:
    """At each of many instants; the row is written every twenty seconds at the most, and what it
    says is too much by no more than that, and what was foreseen."""
    said = set[int]()
    text = PLANS[limits].replace("max_run: 100s", "max_run: 300s")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").runs_for = 200.0
        _, task = gateway.start("far")
        await gateway.until_asked("burst")
        begun = clock.monotonic()
        for _ in range(390):
            await clock.advance(0.5)
            await asyncio.sleep(0.001)
            cost = round((clock.monotonic() - begun) * 1_000_000)
            said.add(await _said_at_last(gateway, cost))
            assert max(said) <= cost + ROW_AHEAD_S * 1_000_000 + HELD_NANO
        assert len(said) <= 1 + 195 / ROW_AHEAD_S + 1
        await gateway.until_done([task], 1.0)
        assert await gateway.spent() == 200_000_000


async def _said_at_last(gateway: AssembledGateway, cost: int) -> int:
    """By the open row, when the ledger's thread has done what it was told; at least the cost."""
    said = list[int]()

    async def covers() -> bool:
        [row] = await gateway.inner.ledger.open_rows()
        said.append(row.hold_nano)
        return row.hold_nano >= cost

    await until(covers, "the row covers what was spent", within_s=20.0, every_s=0.001)
    return said[-1]
