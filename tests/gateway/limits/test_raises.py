"""A raise lifts a limit between two instants, in the middle of its window or not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FakeClock
from gateway.money.scopes import Allowed, in_force
from gateway.policy.sections.limits import Limits, Raise
from gateway.types import Limit, Principal
from tests.gateway.assembled import assembled
from tests.gateway.limits.gateways import POLICY, refused, serve

JAN_9 = 1_767_960_000.0  # 2026-01-09 12:00 UTC
DAVE = Principal(key_id="k", user="dave", plan="p")
MORE = "raises: [{spend: 0.04 USD/month, start: 2026-01-09T13:00Z, end: 2026-01-09T14:00Z}]"
RAISED = f"""
    spend: 0.02 USD/month
    {MORE}
"""
PLACES = {
    "a plan": f"plans:\n  p:{RAISED}",
    "the gateway": f"plans: {{p: {{}}}}\nlimits:{RAISED}",
    "a user beside a plan": (
        f"plans: {{p: {{spend: 0.02 USD/month}}}}\nlimits:\n  users:\n    dave:\n      {MORE}\n"
    ),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_raise_that_begins_and_ends_in_mid_window_counts_what_was_used_before(
    place: str, tmp_path: Path
) -> None:
    """Two cents are used before it and one in it; when it ends, the month's two are long gone."""
    clock = FakeClock(epoch=JAN_9)
    async with assembled(tmp_path, clock, POLICY + PLACES[place]) as gateway:
        await serve(gateway, principal=DAVE)
        await serve(gateway, principal=DAVE)
        assert (await refused(gateway, principal=DAVE)).code == "budget_exhausted"
        clock.move(3600.0)
        await serve(gateway, principal=DAVE)
        clock.move(3599.0)
        await serve(gateway, principal=DAVE)
        assert (await refused(gateway, principal=DAVE)).code == "budget_exhausted"
        clock.move(1.0)
        assert (await refused(gateway, principal=DAVE)).code == "budget_exhausted"
        clock.move(23 * 86_400.0)
        await serve(gateway, principal=DAVE)
        await serve(gateway, principal=DAVE)
        await refused(gateway, principal=DAVE)


async def test_a_raise_of_a_plan_lifts_no_limit_that_a_key_has_itself(tmp_path: Path) -> None:
    """Whoever made the key meant less than the plan gives."""
    clock = FakeClock(epoch=JAN_9 + 3600.0)
    text = POLICY + "plans:\n  p:\n    per_key:" + RAISED.replace("\n    ", "\n      ")
    strict = Principal(
        key_id="k", user="dave", plan="p", limits=(Limit("nano_usd", 10_000_000, "month"),)
    )
    async with assembled(tmp_path, clock, text) as gateway:
        await serve(gateway, principal=strict)
        await refused(gateway, principal=strict)


SPANS = st.tuples(st.integers(0, 100), st.integers(1, 100), st.integers(11, 60))


@given(
    spans=st.lists(SPANS, max_size=4),
    at=st.lists(st.integers(0, 220), min_size=1, max_size=8),
)
def test_what_holds_is_the_largest_of_the_raises_that_hold_and_known_until_it_changes(
    spans: list[tuple[int, int, int]], at: list[int]
) -> None:
    """``until`` misses no change and comes at none: between two instants of it nothing differs."""
    raises = tuple(
        Raise(start=start, end=start + lasts, concurrent=amount) for start, lasts, amount in spans
    )
    place = [Allowed("user:a", Limits(concurrent=10, raises=raises))]

    def limit_at(now: float) -> int:
        [claim] = in_force(place, now).claims
        return claim.limit

    for now in at:
        holding = [amount for start, lasts, amount in spans if start <= now < start + lasts]
        assert limit_at(now) == max([10, *holding])
        until = in_force(place, now).until
        later = min(until, 1000.0)
        assert all(limit_at(now + (later - now) * part) == limit_at(now) for part in (0.3, 0.99))
