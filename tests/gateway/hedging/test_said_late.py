"""What a platform says of the slower attempt when that is stopped is what it is charged."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.types import Usage
from gateway.clock import FakeClock
from gateway.storage.base import Claim
from gateway.types import NANO
from tests.gateway.assembled import assembled, read
from tests.gateway.hedging.calls import LIMIT, answered, at_both, nothing_is_left, policy, runs

SECONDS = policy("seconds", route=", repeat: always")
SPEND = "spend: 5 USD/month"
LIMITED = f"{SECONDS}limits: {{backends: {{first: {{{SPEND}}}, second: {{{SPEND}}}}}}}\n"


@pytest.mark.parametrize("said_s", [0.5, 2.0, 9.0])
async def test_what_is_said_after_the_call_was_written_has_a_row_for_what_that_lacks(
    said_s: float, tmp_path: Path, clock: FakeClock
) -> None:
    """And takes nothing back: an estimate that was too much stays."""
    async with assembled(tmp_path, clock, SECONDS) as gateway:
        runs(gateway, first=60.0, second=3.0)
        gateway.fake("first").said_when_stopped = Usage(exec_s=said_s, reported=True)
        state, _ = await answered(gateway)
        rows = await nothing_is_left(gateway, state.call.id)
        lost = [row for row in rows if row.backend == "first"]
        estimated, said = lost[0].cost_nano, round(said_s * NANO / 1000)
        assert sum(row.cost_nano for row in lost) == max(estimated, said)
        assert [row.id.partition("#")[2] for row in lost] == ["1", "1+"][: 1 + (said > estimated)]


async def test_what_is_said_while_the_call_goes_on_is_what_its_row_says(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Of a second attempt that has used up what was held for it."""
    async with assembled(tmp_path, clock, SECONDS) as gateway:
        runs(gateway, first=40.0, second=60.0)
        gateway.fake("second").said_when_stopped = Usage(exec_s=0.25, reported=True)
        state, _ = await answered(gateway)
        rows = await nothing_is_left(gateway, state.call.id)
        [lost] = [row for row in rows if row.backend == "second"]
        assert (lost.cost_nano, lost.cost_basis) == (250_000, "reported")
        assert state.tried[0].cost_nano == 250_000


@pytest.mark.parametrize(
    ("first_s", "second_s", "lost"), [(60.0, 3.0, "first"), (40.0, 60.0, "second")]
)
async def test_the_limits_of_its_backend_count_what_is_said(
    first_s: float, second_s: float, lost: str, tmp_path: Path, clock: FakeClock
) -> None:
    """After the call was written, and while it goes on; limits that a reload brings meanwhile."""
    async with assembled(tmp_path, clock, SECONDS) as gateway:
        runs(gateway, first=first_s, second=second_s)
        gateway.fake(lost).said_when_stopped = Usage(exec_s=9.0, reported=True)
        state, task = await at_both(gateway)
        await gateway.inner.apply(read(LIMITED))
        await gateway.until_done([task], step=0.25)
        rows = await nothing_is_left(gateway, state.call.id)
        spent = sum(row.cost_nano for row in rows if row.backend == lost)
        claim = Claim(f"backend:{lost}", "nano_usd", "month", LIMIT, 0)
        [status] = await gateway.inner.shared.statuses([claim])
        assert (spent, LIMIT - status.remaining) == (9_000_000, 9_000_000)
