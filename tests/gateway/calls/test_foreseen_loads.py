"""Backends that must load a call's model first: explained, waited for, gone away from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.clock import FakeClock, settle
from tests.gateway.assembled import POLICY, assembled


async def test_explain_tells_how_long_the_model_would_be_loaded(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Within the SLO, past it, and where it could not be loaded."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:

        async def explained(seconds: float | None) -> dict[str, Any]:
            gateway.fake("home").loads_in["chat"] = seconds
            told: dict[str, Any] = (
                await client.post("/v1/route/explain", json={"model": "chat"})
            ).json()
            return told

        near = await explained(1.5)
        assert (near["backend"], near["reason"]) == ("home", "RES_LOAD")
        assert near["candidates"][0]["predicted_load_seconds"] == 1.5
        assert near["candidates"][0]["cold_start"]
        far = await explained(12.0)
        assert (far["backend"], far["reason"]) == ("burst", "LEAST_DELAY")
        never = await explained(None)
        assert never["refused"] == [{"backend": "home", "reason": "load_failed"}]


async def test_a_call_in_line_is_rerouted_when_the_load_of_its_model_fails(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It would have waited for that load; now it would be refused there."""
    async with assembled(tmp_path, clock, POLICY.replace("slo: 2s", "slo: 60s")) as gateway:
        gateway.fake("home").runs_for = 10.0
        gateway.fake("home").loads_in["chat"] = 3.0
        busy = [gateway.start("any") for _ in range(4)]
        await settle()
        state, task = gateway.start("chat")
        await settle()
        await clock.advance(0.5)
        assert state.backend is gateway.inner.active.backends["home"]
        assert state.reason == "RES_LOAD"
        assert not task.done()
        gateway.fake("home").loads_in["chat"] = None
        await gateway.until_done([task, *(each for _, each in busy)], step=0.25)
        await task
        row = await gateway.row(state.call.id)
        assert (row.backend, row.reason) == ("burst", "SPILL_COLD")
