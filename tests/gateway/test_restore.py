"""At start, and when a shared store has lost its memory, the counters are those of the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock, settle
from gateway.money.limits import scopes_of
from gateway.restore import Refill
from gateway.storage.base import Claim, LedgerRow
from gateway.types import Unit
from tests.gateway.assembled import ALICE, POLICY, AssembledGateway, assembled, build
from tests.gateway.failing_stores import FailingShared, Trouble
from tests.waiting import until

LIMIT = 10**12
DAY_S = 86_400.0


def row(id: str, clock: FakeClock, **fields: Any) -> LedgerRow:
    values: dict[str, Any] = {
        "outcome": "success",
        "started_at": clock.time(),
        "ended_at": clock.time(),
        "key_id": "key_alice",
        "user": "alice",
        "plan": "default",
        "model": "chat",
        "task": "chat",
        "backend": "home",
        "cost_nano": 100,
        "gpu_us": 7,
    }
    return LedgerRow(id=id, **(values | fields))


async def left_by_a_dead_gateway(folder: Path, clock: FakeClock, *rows: LedgerRow) -> None:
    dead = build(folder, clock)
    await dead.ledger.settle([each for each in rows if each.outcome != "open"])
    for each in rows:
        if each.outcome == "open":
            await dead.ledger.open(each)
    await dead.ledger.aclose()
    dead.keys.close()


async def spent(
    gateway: AssembledGateway, scope: str, unit: Unit = "nano_usd", window: str = "month"
) -> int:
    claim = Claim(scope, unit, window, LIMIT, 0)
    [status] = await gateway.inner.shared.statuses([claim])
    return LIMIT - status.remaining


@pytest.mark.parametrize("scope", ["key:key_alice", "user:alice", "plan:default", "gateway"])
async def test_a_restart_forgives_no_scope_what_it_spent(
    scope: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Money and device time, in every window that the calls fall into."""
    await left_by_a_dead_gateway(tmp_path, clock, row("a", clock), row("b", clock, cost_nano=11))
    async with assembled(tmp_path, clock) as gateway:
        assert await spent(gateway, scope) == 111
        assert await spent(gateway, scope, window="day") == 111
        assert await spent(gateway, scope, "gpu_us", "day") == 14


EVERYWHERE = POLICY.replace(
    "spend: 5 USD/month}",
    "spend: 5 USD/month, per_key: {spend: 1 USD/week}, "
    "shared: {spend: 50 USD/day, gpu_seconds: 900/hour}}",
).replace("plans:", "limits: {spend: 500 USD/month, gpu_seconds: 9000/day}\nplans:")


async def test_every_scope_in_which_a_call_claims_is_filled_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A scope that claims know and a restart does not would be a budget without an end."""
    await left_by_a_dead_gateway(tmp_path, clock, row("a", clock))
    async with assembled(tmp_path, clock, EVERYWHERE) as gateway:
        held = gateway.inner.active.template(ALICE).held
        assert {claim.scope for claim in held} == {*scopes_of(ALICE.key_id, ALICE.user, ALICE.plan)}
        for claim in held:
            taken = await spent(gateway, claim.scope, claim.unit, claim.window)
            assert taken == (100 if claim.unit == "nano_usd" else 7), claim


async def test_a_row_that_cannot_be_settled_keeps_no_gateway_from_starting(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its amount is past what the ledger's columns take; those beside it are settled."""
    opened = {"outcome": "open", "ended_at": None, "cost_nano": 0}
    bad, good = (row(id, clock, **opened, hold_nano=held) for id, held in (("a", 2**70), ("b", 5)))
    await left_by_a_dead_gateway(tmp_path, clock, bad, good)
    async with assembled(tmp_path, clock) as gateway:
        [settled] = await gateway.rows("b")
        assert (settled.outcome, settled.cost_nano) == ("interrupted", 5)
    assert "the open row a stays open" in caplog.text
    assert "1 calls that were open" in caplog.text


async def test_what_was_spent_before_the_window_is_not_counted(tmp_path: Path) -> None:
    """Yesterday's calls weigh on the month and not on the day."""
    clock = FakeClock(epoch=1_767_960_000.0)  # 2026-01-09 12:00 UTC
    yesterday = row("a", clock, started_at=clock.time() - DAY_S)
    await left_by_a_dead_gateway(tmp_path, clock, yesterday, row("b", clock, cost_nano=1))
    async with assembled(tmp_path, clock) as gateway:
        assert await spent(gateway, "user:alice", window="day") == 1
        assert await spent(gateway, "user:alice", window="month") == 101


async def test_an_interrupted_call_is_counted_once_beside_what_the_ledger_knew(
    tmp_path: Path, clock: FakeClock
) -> None:
    claims = (Claim("user:alice", "nano_usd", "month", LIMIT, 50),)
    left = row("b", clock, outcome="open", ended_at=None, hold_nano=50, claims=claims, cost_nano=0)
    await left_by_a_dead_gateway(tmp_path, clock, row("a", clock), left)
    async with assembled(tmp_path, clock) as gateway:
        assert await spent(gateway, "user:alice") == 150
        assert await gateway.spent() == 150


async def test_how_much_a_model_is_used_is_known_again(tmp_path: Path, clock: FakeClock) -> None:
    """A rule over requests a day would otherwise see an idle model after each restart."""
    rows = [row(f"r{number}", clock, started_at=clock.time() - 600) for number in range(30)]
    await left_by_a_dead_gateway(tmp_path, clock, *rows)
    async with assembled(tmp_path, clock) as gateway:
        assert gateway.inner.dispatcher.volume.per_day("chat", clock.time()) >= 30


# --- a store that was emptied -----------------------------------------------------------------


async def test_a_store_that_lost_its_memory_is_filled_once_however_many_calls_find_out(
    tmp_path: Path, clock: FakeClock
) -> None:
    trouble = Trouble()
    shared = FailingShared(clock).told(trouble)
    async with assembled(tmp_path, clock, shared=shared) as gateway:
        await gateway.inner.ledger.settle([row("a", clock)])
        before = trouble.asked.count("restore")
        refill = Refill()
        refill()  # nobody to serve yet: nothing happens
        refill.serves(gateway.inner)
        for _ in range(5):
            refill()
        await until(lambda: trouble.asked.count("restore") > before)
        await settle()
        assert trouble.asked.count("restore") == before + 1
        assert await spent(gateway, "user:alice") == 100


async def test_a_fill_that_fails_is_tried_again_at_the_next_call(
    tmp_path: Path, clock: FakeClock
) -> None:
    trouble = Trouble()
    shared = FailingShared(clock).told(trouble)
    async with assembled(tmp_path, clock, shared=shared) as gateway:
        await gateway.inner.ledger.settle([row("a", clock)])
        refill = Refill()
        refill.serves(gateway.inner)
        before = trouble.asked.count("restore")
        trouble.fails("before", "restore")
        refill()
        await until(lambda: trouble.asked.count("restore") == before + 1)
        await settle()
        assert await spent(gateway, "user:alice") == 0
        trouble.ends()
        refill()
        await until(lambda: trouble.asked.count("restore") == before + 2)
        await settle()
        assert await spent(gateway, "user:alice") == 100
