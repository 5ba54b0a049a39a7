"""A batch's own budget is a cap: of lines that run longer than was foreseen too."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.types import Call
from gateway.clock import FakeClock
from gateway.key_requests import issue, read_request
from tests.gateway.assembled import with_any_keys
from tests.gateway.batches.gateways import ENDED, BatchesGateway, input_of, with_batches
from tests.gateway.jobs.gateways import POLICY
from tests.gateway.jobs.platforms import FakePlatform

UNLIMITED = POLICY.partition("plans:")[0] + "plans: {default: {}}\n"


async def begun(gateway: BatchesGateway, lines: int, budget: str, key: str = "") -> str:
    """A batch of calls that the platform runs, of 0.01 USD each by what is foreseen."""
    headers = {"X-Spillgate-Budget": f"{budget} USD"}
    async with gateway.client(key) as client:
        data = input_of([{"x": n} for n in range(lines)], "/v1/infer/far")
        return str((await gateway.batch(client, data, "/v1/infer/far", headers=headers))["id"])


async def ended(gateway: BatchesGateway, id: str, key: str = "") -> dict[str, object]:
    async with gateway.client(key) as client:
        return await gateway.until_status(client, id, *ENDED, step=2.0)


@pytest.mark.parametrize("lines", [1, 20])
@pytest.mark.parametrize("text", [POLICY, UNLIMITED], ids=["limited caller", "unlimited caller"])
async def test_lines_that_run_too_long_are_stopped_within_the_budget(
    tmp_path: Path, clock: FakeClock, text: str, lines: int
) -> None:
    platform = FakePlatform(clock, runs_for=400.0)
    async with with_batches(tmp_path, clock, platform, text) as gateway:
        found = await ended(gateway, await begun(gateway, lines, "0.05"))
        assert found["status"] == "completed"
        assert found["request_counts"] == {"total": lines, "completed": 0, "failed": lines}
        assert 0.02 < float(str(found["cost_usd"])) <= 0.05


def key_with(gateway: BatchesGateway, tags: dict[str, str]) -> str:
    """One that has these tags, whether it would be given them today or not."""
    asked = read_request({"user": "alice"}, with_any_keys(gateway.inner.active.policy))
    asked = replace(asked, principal=replace(asked.principal, tags=tags))
    return issue(gateway.inner.keys, asked, gateway.clock.time())[0]


class SmallPlatform(FakePlatform):
    """It takes so many jobs in all."""

    most = 2

    def submit(self, call: Call) -> str:
        self.full = len(self.jobs) >= self.most
        return super().submit(call)


@pytest.mark.parametrize("tags", [{}, {"batch": "nightly"}], ids=["none", "an old key's own"])
async def test_what_was_spent_before_a_restart_counts(
    tmp_path: Path, clock: FakeClock, tags: dict[str, str]
) -> None:
    """Also of a key that was made when keys could still have the batches' own tag."""
    platform = SmallPlatform(clock, runs_for=40.0)
    async with with_batches(tmp_path, clock, platform, UNLIMITED) as gateway:
        key = key_with(gateway, tags)
        id = await begun(gateway, 3, "0.2", key)
        async with gateway.client(key) as client:
            while (await gateway.shown(client, id))["request_counts"]["completed"] < 2:
                await clock.advance(2.0)
    platform.most, platform.runs_for = 3, 400.0
    async with with_batches(tmp_path, clock, platform, UNLIMITED) as gateway:
        found = await ended(gateway, id, key)
        assert 0.1 < float(str(found["cost_usd"])) <= 0.2  # two lines had cost 0.08 before
