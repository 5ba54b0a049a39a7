"""A job that goes on elsewhere knows what it holds, and takes it for no more."""

from __future__ import annotations

from pathlib import Path

from adapters.errors import BackendError, FailureClass
from adapters.types import Usage
from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from tests.gateway.jobs.gateways import POLICY, JobsGateway, with_jobs
from tests.gateway.jobs.platforms import FakePlatform
from tests.waiting import until

TWO = (
    POLICY.replace("price: reserved", "price: flex").replace(
        "any: {task: infer, backends: [home]",
        "any: {task: infer, idempotent: true, backends: [home, cloud]",
    )
    + "routes: [{name: both, repeat: always, use: [home, cloud]}]\n"
)
BROKEN = BackendError(
    FailureClass.FAILED, "boom", usage=Usage(exec_s=20.0, gpu_s=20.0, reported=True)
)


async def open_row(gateway: JobsGateway, id: str) -> LedgerRow:
    row = (await gateway.job(id)).row
    assert row is not None
    return row


async def test_what_is_held_after_a_failed_attempt_is_counted_once_by_whoever_goes_on(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Three cents for an attempt, and two that the failed one has cost."""
    platform = FakePlatform(clock, runs_for=300.0)
    async with with_jobs(tmp_path, clock, platform, TWO) as gateway, gateway.client() as client:
        gateway.fake("home").tell(BROKEN)
        accepted = await gateway.post(client)
        await until(lambda: bool(platform.submits), "the second backend has it")
        await gateway.until_state(accepted["id"], "running")
        held = await open_row(gateway, accepted["id"])
        assert held.hold_nano == 50_000_000
    async with with_jobs(tmp_path, clock, platform, TWO) as gateway:
        states = gateway.inner.dispatcher.admitting.held
        await until(lambda: len(states) == 1, "it goes on")
        [state] = states
        assert state.admission.hold_nano == held.hold_nano
