"""A row whose opening was not acknowledged may be there all the same: it is ended, for nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import Claim, MaybeWritten
from gateway.types import ApiError
from gateway.warm.account import WarmAccount
from tests.gateway.assembled import PATIENCE_S, assembled
from tests.gateway.failing_stores import FailingLedger, Trouble
from tests.waiting import until

MONEY = Claim("user:alice", "nano_usd", "month", 5_000_000_000, 0)


async def test_a_call_whose_row_may_be_open_is_charged_nothing_then_and_later(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its caller was told 503, and the backend was not asked: the next start must find no open row
    to settle at the amount held."""
    trouble = Trouble()
    ledger = FailingLedger(tmp_path / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S)
    async with assembled(tmp_path, clock, ledger=ledger.told(trouble)) as gateway:
        trouble.fails("after", "open")
        state = gateway.call_state("far")
        with pytest.raises(ApiError, match="cannot account"):
            await gateway.ask(state)
        trouble.ends()
        [row] = await gateway.rows(state.call.id)
        assert (row.outcome, row.status, row.error) == ("error", 503, "store_unavailable")
        assert row.cost_nano == 0
        [money] = await gateway.inner.shared.statuses([MONEY])
        assert money.remaining == MONEY.limit
        assert gateway.fake("burst").calls == []
    async with assembled(tmp_path, clock) as gateway:
        assert (await gateway.row(state.call.id)).cost_nano == 0


async def test_a_call_that_is_cancelled_while_its_row_is_opened_is_charged_nothing_later(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Also where the ledger fails at that moment, and its end has to wait."""
    trouble = Trouble()
    ledger = FailingLedger(tmp_path / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S)
    async with assembled(tmp_path, clock, ledger=ledger.told(trouble)) as gateway:
        state = gateway.call_state("far")
        trouble.fails("before", "settle")
        call = asyncio.create_task(gateway.ask(state))
        await until(lambda: "open" in trouble.asked, "its row is opened", every_s=0)
        call.cancel()
        await asyncio.wait([call])
        assert gateway.inner.settler.waiting == 1
        trouble.ends()
        await gateway.inner.settler.retry()
        [row] = await gateway.rows(state.call.id)
        assert (row.outcome, row.cost_nano) == ("cancelled", 0)
        assert await ledger.open_rows() == []


async def test_a_ping_whose_row_may_be_open_is_charged_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    trouble = Trouble()
    ledger = FailingLedger(tmp_path / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S)
    async with assembled(tmp_path, clock, ledger=ledger.told(trouble)) as gateway:
        account = WarmAccount(
            shared=gateway.inner.shared,
            ledger=ledger,
            settler=gateway.inner.settler,
            clock=clock,
        )
        trouble.fails("after", "open")
        active = gateway.inner.active
        burst = active.backends["burst"]
        with pytest.raises(MaybeWritten):
            await account.open(active.policy, burst, "ping", "idle", nano=9, lasts_s=1.0)
        trouble.ends()
        assert await ledger.open_rows() == []
