"""Where calls may go: a route's regions hold for whatever happens to a call."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock, settle
from gateway.types import ApiError, Principal
from tests.gateway.assembled import NO_OUTPUT, POLICY, assembled

REGIONS = (
    POLICY.replace("slots: 2, price", "slots: 1, concurrency: 1, region: eu, price")
    .replace("  burst:\n", "  den: {kind: fake, price: reserved, region: us}\n  burst:\n")
    .replace("chat, backends: [home, burst]", "chat, backends: [home, den, burst]")
    + """
routes:
  - {name: resident, when: {tags: {data: eu}}, use: [home, den, burst], regions: [eu]}
"""
)
RESIDENT = Principal(key_id="key_r", user="rosa", plan="default", tags={"data": "eu"})


async def test_a_failure_sends_no_call_out_of_its_region(tmp_path: Path, clock: FakeClock) -> None:
    """Though others would answer it: those of other callers they do."""
    async with assembled(tmp_path, clock, REGIONS) as gateway:
        gone = BackendError(FailureClass.UNREACHABLE, "gone")
        gateway.fake("home").answers = lambda _: gone
        with pytest.raises(ApiError):
            await gateway.ask(gateway.call_state(principal=RESIDENT))
        assert not gateway.fake("den").calls
        state = gateway.call_state()
        await gateway.ask(state)
        assert (await gateway.row(state.call.id)).backend == "den"


async def test_a_line_sends_no_call_out_of_its_region(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, REGIONS) as gateway:
        gateway.fake("home").runs_for = 5.0
        tasks = [gateway.start(principal=RESIDENT)[1] for _ in range(4)]
        await settle()
        await gateway.until_done(tasks, 0.5)
        assert len(gateway.fake("home").calls) == 4
        assert not gateway.fake("den").calls
        assert not gateway.fake("burst").calls


TWO = REGIONS.replace("region: us}", "region: us, return_after: 30s}").replace(
    "region: eu, price", "region: eu, return_after: 30s, price"
)


async def test_an_outage_moves_calls_and_they_come_back_late(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Not at the region's first good answer to a probe, but once it was well for long enough."""
    async with assembled(tmp_path, clock, TWO) as gateway:
        home = gateway.fake("home")

        async def goes_to() -> str:
            state = gateway.call_state()
            await gateway.ask(state)
            return (await gateway.row(state.call.id)).backend

        await clock.advance(16.0)
        assert await goes_to() == "home"
        home.unwell = "the region is away"
        await clock.advance(16.0)
        assert await goes_to() == "den"
        home.unwell = ""
        await clock.advance(20.0)
        assert await goes_to() == "den"
        await clock.advance(32.0)
        assert await goes_to() == "home"


async def test_a_caller_waits_where_he_is_and_not_where_a_slot_is_free(
    tmp_path: Path, clock: FakeClock
) -> None:
    """For as long as that keeps the promise; then whatever is free takes the call."""
    near = msgspec.structs.replace(NO_OUTPUT, region="eu")
    async with assembled(tmp_path, clock, TWO.replace("slo: 2s", "slo: 4s")) as gateway:
        gateway.fake("home").runs_for = 1.0
        tasks = [gateway.start(preferences=near)[1] for _ in range(3)]
        await settle()
        await gateway.until_done(tasks, 0.5)
        assert len(gateway.fake("home").calls) == 3
        assert not gateway.fake("den").calls
        tasks = [gateway.start(preferences=near)[1] for _ in range(12)]
        await settle()
        await gateway.until_done(tasks, 0.5)
        assert gateway.fake("den").calls


async def test_the_record_says_where_the_caller_was_and_how_far_the_backends(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, TWO) as gateway:
        gateway.fake("den").round_trip_s = 0.09
        await clock.advance(16.0)
        state = gateway.call_state(preferences=msgspec.structs.replace(NO_OUTPUT, region="us"))
        await gateway.ask(state)
        row = await gateway.row(state.call.id)
        assert (row.backend, row.reason) == ("den", "REGION")
        assert row.history is not None
        assert row.history.region == "us"
        seen = {one.backend: one.seen for one in row.history.quotes}
        assert seen["den"] is not None
        assert (seen["den"].round_trip_s, seen["den"].region) == (0.09, "us")
