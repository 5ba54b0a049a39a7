"""What a call may have cost that its gateway's death cut off is in its row, limited or not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from tests.gateway.assembled import ALICE, POLICY, AssembledGateway, assembled

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
