"""At start, and when a shared store has lost its memory, the counters are those of the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock, settle
from gateway.money.scopes import ACCOUNT
from gateway.restore import Refill
from gateway.storage.base import Claim, LedgerRow
from gateway.storage.memory import MemorySharedStore
from gateway.types import Principal, Unit
from tests.gateway.assembled import POLICY, AssembledGateway, assembled, build
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


OF_EACH = """
  spend: [9 USD/hour, 90 USD/24h, 300 USD/month from 15 Europe/Berlin]
  gpu_seconds: [900/hour, 9000/2h]
  tokens: 100000/day Asia/Tokyo
  input_tokens: 90000/7d
  output_tokens: 80000/month
  requests: [60/minute, 1000/day America/New_York]
"""
ONE = "{" + ", ".join(line.strip() for line in OF_EACH.strip().splitlines()) + "}"
EVERYWHERE = POLICY.replace(
    "spend: 5 USD/month}", f"spend: 5 USD/month, per_key: {ONE}, shared: {ONE}}}"
).replace(
    "plans:",
    f"""limits:{OF_EACH.rstrip()}
  users: {{alice: {ONE}}}
  tags: {{team: {{nlp: {ONE}}}, site: {{"*": {ONE}}}}}
  models: {{chat: {ONE}}}
  backends: {{home: {ONE}}}
plans:""",
)
SCOPES = [
    "key:key_alice", "user:alice", "plan:default", "tag:team=nlp", "tag:site=berlin", "model:chat",
    "backend:home", "gateway",
]  # fmt: skip
TAGS = {"team": "nlp", "site": "berlin", "unlimited": "x"}


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_restart_forgives_no_scope_what_it_spent(
    scope: str, tmp_path: Path, clock: FakeClock
) -> None:
    """In every unit, and every window that the calls fall into."""
    used = {"tags": TAGS, "input_tokens": 30, "output_tokens": 4}
    rows = row("a", clock, **used), row("b", clock, cost_nano=11, **used)
    await left_by_a_dead_gateway(tmp_path, clock, *rows)
    async with assembled(tmp_path, clock, EVERYWHERE) as gateway:
        counters: tuple[tuple[Unit, str, int], ...] = (
            ("nano_usd", "hour", 111),
            ("nano_usd", "24h", 111),
            ("nano_usd", "month from 15 Europe/Berlin", 111),
            ("gpu_us", "2h", 14),
            ("tokens", "day Asia/Tokyo", 68),
            ("input_tokens", "7d", 60),
            ("output_tokens", "month", 8),
            ("calls", "day America/New_York", 2),
        )
        for unit, window, amount in counters:
            assert await spent(gateway, scope, unit, window) == amount, (unit, window)


async def test_the_warm_pool_is_not_forgiven_what_it_spent_either(
    tmp_path: Path, clock: FakeClock
) -> None:
    ping = row("p", clock, kind="ping", key_id=ACCOUNT, user=ACCOUNT, plan="", model="")
    await left_by_a_dead_gateway(tmp_path, clock, ping)
    policy = POLICY.replace("plans:", "limits: {warm_pool: {spend: 1 USD/24h}}\nplans:")
    async with assembled(tmp_path, clock, policy) as gateway:
        assert await spent(gateway, "warm-pool", window="24h") == 100


async def test_what_lies_further_back_than_a_rolling_window_is_not_counted(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Each call in the step in which it began, so that it leaves the window when it should."""
    ago = [3600.0, 7000.0, 7400.0]
    rows = [
        row(f"r{index}", clock, started_at=clock.time() - back, gpu_us=10**index)
        for index, back in enumerate(ago)
    ]
    await left_by_a_dead_gateway(tmp_path, clock, *rows)
    async with assembled(tmp_path, clock, EVERYWHERE) as gateway:
        assert await spent(gateway, "gateway", "gpu_us", "2h") == 11
        clock.move(200 + 7200 / 60)
        assert await spent(gateway, "gateway", "gpu_us", "2h") == 1


CALLER = Principal(key_id="key_alice", user="alice", plan="default", tags=TAGS)
COUNTS: dict[Unit, int] = {
    "nano_usd": 100, "gpu_us": 7, "calls": 1, "tokens": 34, "input_tokens": 30, "output_tokens": 4,
}  # fmt: skip


async def test_every_scope_in_which_a_call_claims_is_filled_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A scope that claims know and a restart does not would be a budget without an end."""
    used = {"tags": TAGS, "input_tokens": 30, "output_tokens": 4}
    await left_by_a_dead_gateway(tmp_path, clock, row("a", clock, **used))
    async with assembled(tmp_path, clock, EVERYWHERE) as gateway:
        held = gateway.inner.active.template(CALLER, "chat").held
        assert {claim.scope for claim in held} == {*SCOPES} - {"backend:home"}
        for claim in held:
            taken = await spent(gateway, claim.scope, claim.unit, claim.window)
            assert taken == COUNTS[claim.unit], claim


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
    policy = POLICY.replace("spend: 5 USD/month", "spend: [5 USD/month, 1 USD/day]")
    async with assembled(tmp_path, clock, policy) as gateway:
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


async def test_it_is_counted_by_limits_that_came_after_its_claims(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Also where its dead gateway had settled it in the shared store already."""
    claims = (Claim("user:alice", "nano_usd", "month", LIMIT, 50),)
    left = row("b", clock, outcome="open", ended_at=None, hold_nano=50, claims=claims, cost_nano=0)
    await left_by_a_dead_gateway(tmp_path, clock, row("a", clock), left)
    shared = MemorySharedStore(clock)
    await shared.settle("b", claims, {"nano_usd": 50})
    limits = "limits: {spend: 9 USD/month, backends: {home: {spend: 9 USD/day}}}"
    async with assembled(tmp_path, clock, f"{POLICY}{limits}\n", shared=shared) as gateway:
        assert await spent(gateway, "user:alice") == 150
        assert await spent(gateway, "gateway") == 150
        assert await spent(gateway, "backend:home", window="day") == 150


async def test_how_much_a_model_is_used_is_known_again(tmp_path: Path, clock: FakeClock) -> None:
    """A rule over requests a day would otherwise see an idle model after each restart."""
    rows = [row(f"r{number}", clock, started_at=clock.time() - 600) for number in range(30)]
    await left_by_a_dead_gateway(tmp_path, clock, *rows)
    async with assembled(tmp_path, clock) as gateway:
        assert gateway.inner.dispatcher.volume.per_day("chat", clock.time()) >= 30


async def test_a_store_that_is_away_at_a_start_learns_what_the_ledger_knows_when_it_is_back(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It has lost nothing, and yet does not know what waited in the process that died."""
    await left_by_a_dead_gateway(tmp_path, clock, row("a", clock))
    trouble = Trouble()
    trouble.fails("before", "restore")
    shared = FailingShared(clock).told(trouble)
    async with assembled(tmp_path, clock, shared=shared) as gateway:
        assert await spent(gateway, "user:alice") == 0
        trouble.ends()
        before = trouble.asked.count("restore")
        await clock.advance(1.0)
        await until(lambda: trouble.asked.count("restore") > before, "it is filled")
        await settle()
        assert await spent(gateway, "user:alice") == 100


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
