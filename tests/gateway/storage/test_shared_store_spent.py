"""What a window has spent is told without what is held, and with the window's end."""

from __future__ import annotations

from gateway.clock import FakeClock
from gateway.storage.base import Claim, WindowSpent
from gateway.types import MICRO
from gateway.windows import bounds
from tests.gateway.storage.claims import admit, money, opened
from tests.gateway.storage.conftest import OpenStore


async def test_what_is_held_is_no_part_of_what_was_spent(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        claim = money("user:a", 1_000, 700)
        await admit(store, "one", claim)
        end = bounds(claim.window, round(clock.time() * MICRO))[1]
        assert await store.spent([claim]) == (WindowSpent(claim, 0, end),)
        await store.settle("one", [claim], {"nano_usd": 450})
        assert await store.spent([claim]) == (WindowSpent(claim, 450, end),)


async def test_rates_and_calls_in_progress_spend_nothing(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        claims = [
            Claim("user:a", "requests", "minute", 9, 1),
            Claim("user:a", "concurrent", "", 9, 1),
        ]
        assert await store.spent(claims) == ()
