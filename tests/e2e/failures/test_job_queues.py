"""Whatever befalls a queue of jobs that is billed by the second: the call ends, somebody answers
where nothing was run, and nobody is charged for more than the platform bills."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from gateway.clock import FakeClock
from tests.e2e.failures.test_faults import WELL_COSTS, Scene
from tests.e2e.failures.test_matrix import BACK_WITHIN_S, BOB, LONG, assert_nothing_is_left, pass_by
from tests.e2e.servers.faulty import FaultyServer
from tests.e2e.servers.job_plane import RUN_S, JobPlane, Trouble
from tests.e2e.servers.replicate_plane import ReplicatePlane
from tests.e2e.servers.runpod_plane import RunpodPlane
from tests.gateway.assembled import with_own_kinds


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """A platform with a queue: its stand-in, its backend, and what does not happen there."""

    plane: Callable[[FakeClock], JobPlane]
    backend: str
    spared: tuple[Trouble, ...] = ()


PLATFORMS: dict[str, Platform] = {
    "runpod": Platform(
        plane=RunpodPlane,
        backend='kind: runpod, endpoint: e, api_key: "${{PLANE_KEY}}", base_url: "{plane}/v2",'
        ' management_url: "{plane}/v2", cold_start: {{p50: 1s, p95: 2s}}',
        spared=("too_late",),
    ),
    "replicate": Platform(
        plane=ReplicatePlane,
        backend='kind: replicate, deployment: o/n, api_key: "${{PLANE_KEY}}", openai: true,'
        ' base_url: "{plane}/v1", wait: 2s, cold_start: {{p50: 1s, p95: 2s}}',
    ),
}
POLICY = """
version: 1
server: {{tls: "off", access_log: false}}
backends:
  alone: {{BACKEND, price: seconds, timeout: 6s}}
  auto: {{BACKEND, price: seconds, timeout: 6s}}
  always: {{BACKEND, price: seconds, timeout: 6s, repeat: always}}
  well: {{kind: openai, base_url: "{well}", engine: none, price: tokens}}
models:
  alone: {{task: chat, backends: [alone]}}
  auto: {{task: chat, backends: [auto, well]}}
  always: {{task: chat, backends: [always, well]}}
  calm: {{task: chat, backends: [well]}}
prices:
  tokens: {{per_million_input: 1000, per_million_output: 1000, as_of: 2026-11-01, source: test}}
  seconds: {{per_second: 0.001, bills: [run], as_of: 2026-11-01, source: test}}
routes:
  - {{name: all, use: [alone, auto, always, well], order: listed}}
plans:
  default: {{spend: 500 USD/month}}
"""
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)
NOT_RUN = ("submit_429", "submit_401", "stuck", "cancelled_early", "too_late")
"""What the platform itself says was not run."""
CALLS = 12 if LONG else 4
SLACK_S = 0.5
"""Between the end of a job and the poll that sees it."""
NANO_A_SECOND = 1_000_000


@contextlib.asynccontextmanager
async def scene(
    folder: Path, clock: FakeClock, platform: Platform
) -> AsyncIterator[tuple[Scene, JobPlane]]:
    async with platform.plane(clock) as plane, FaultyServer() as well:
        text = POLICY.replace("BACKEND", platform.backend).format(plane=plane.url, well=well.url)
        async with with_own_kinds(folder, clock, text, {"PLANE_KEY": "k"}) as gateway:
            yield Scene(gateway, plane), plane


CELLS = [
    pytest.param(platform, trouble, id=f"{name}-{trouble}")
    for name, platform in PLATFORMS.items()
    for trouble in TROUBLES
    if trouble not in platform.spared
]


@pytest.mark.soak
@pytest.mark.parametrize(("platform", "trouble"), CELLS)
@pytest.mark.parametrize("model", ["alone", "auto", "always"])
async def test_no_trouble_of_a_queue_hangs_overcharges_or_hurts_a_neighbour(
    model: str, platform: Platform, trouble: Trouble, tmp_path: Path, clock: FakeClock
) -> None:
    async with scene(tmp_path, clock, platform) as (stage, plane):
        plane.trouble = trouble
        for number in range(CALLS):
            before = plane.billed_s()
            told = await stage.call(model, stream=number % 2 == 1)
            billed = plane.billed_s() - before
            owed = WELL_COSTS if told.answered else 0
            assert told.charged <= owed + (billed + SLACK_S) * NANO_A_SECOND, (number, told, billed)
            if trouble in NOT_RUN:
                assert told.charged == owed, (number, told)
            if model == "always" or (model == "auto" and trouble in NOT_RUN):
                assert told.answered, (number, told)
            assert told.answered is (told.backend == "well"), (number, told)
            calm = await stage.call("calm", stream=False, principal=BOB)
            assert (calm.answered, calm.charged) == (True, WELL_COSTS)
        plane.trouble = None
        await pass_by(clock, BACK_WITHIN_S)
        back = await stage.call(model, stream=False)
        assert (back.answered, back.backend) == (True, model)
        assert back.charged == pytest.approx(RUN_S * NANO_A_SECOND)
        await assert_nothing_is_left(stage)


@pytest.mark.parametrize("platform", [pytest.param(p, id=name) for name, p in PLATFORMS.items()])
@pytest.mark.parametrize("model", ["alone", "auto"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_queue_that_is_well_answers_and_is_charged_what_it_bills(
    model: str, stream: bool, platform: Platform, tmp_path: Path, clock: FakeClock
) -> None:
    async with scene(tmp_path, clock, platform) as (stage, plane):
        told = await stage.call(model, stream=stream)
        assert (told.answered, told.backend) == (True, model)
        assert told.charged == pytest.approx(plane.billed_s() * NANO_A_SECOND)
