"""What the warm pool does counts in limits of its own, and in those of its backends."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.types import Usage
from gateway.clock import FakeClock
from gateway.warm.account import WarmAccount
from tests.gateway.assembled import AssembledGateway, assembled
from tests.gateway.limits.gateways import CENT, POLICY, left, serve

DOLLAR = 10**9


def account(gateway: AssembledGateway) -> WarmAccount:
    inner = gateway.inner
    return WarmAccount(
        shared=inner.shared, ledger=inner.ledger, settler=inner.settler, clock=gateway.clock
    )


@pytest.mark.parametrize(
    ("limits", "scope"),
    [
        ("{warm_pool: {spend: 0.02 USD/24h}}", "warm-pool"),
        ("{backends: {a: {spend: 0.02 USD/24h}}}", "backend:a"),
        ("{spend: 0.02 USD/24h}", "gateway"),
    ],
)
async def test_no_ping_is_sent_for_which_a_limit_has_no_room(
    limits: str, scope: str, tmp_path: Path, clock: FakeClock
) -> None:
    """What it cost is counted when it has ended, and what was held is given back."""
    async with assembled(tmp_path, clock, POLICY + f"limits: {limits}\n") as gateway:
        pool, active = account(gateway), gateway.inner.active
        backend = active.backends["a"]
        for cost in (CENT // 2, CENT):
            expense = await pool.open(
                active.policy, backend, "ping", "KEEP", nano=CENT, lasts_s=1.0
            )
            assert expense is not None
            await pool.settle(expense, Usage(), outcome="ping", error="", nano=cost)
        assert 2 * CENT - await left(gateway, scope, "nano_usd", "24h", 2 * CENT) == 3 * CENT // 2
        for _ in range(2):
            assert not await pool.open(
                active.policy, backend, "ping", "KEEP", nano=CENT, lasts_s=1.0
            )
        assert await left(gateway, scope, "nano_usd", "24h", 2 * CENT) == CENT // 2


async def test_a_limit_of_the_warm_pool_keeps_no_call_away(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY + "plans: {default: {}}\nlimits: {warm_pool: {spend: 0.001 USD/day}}\n"
    async with assembled(tmp_path, clock, text) as gateway:
        await serve(gateway)
        assert await left(gateway, "warm-pool", "nano_usd", "day", DOLLAR) == DOLLAR
