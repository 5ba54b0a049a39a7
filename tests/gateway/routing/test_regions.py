"""Where calls may go: a route's regions hold for whatever happens to a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock, settle
from gateway.types import ApiError, Principal
from tests.gateway.assembled import POLICY, assembled

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
