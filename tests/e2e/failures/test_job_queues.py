"""Whatever befalls a queue of jobs that is billed by the second: the call ends, somebody answers
where nothing was run, and nobody is charged for more than the platform bills."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from adapters.types import Task
from gateway.clock import FakeClock
from tests.e2e.failures.test_faults import WELL_COSTS, Scene
from tests.e2e.failures.test_matrix import BACK_WITHIN_S, BOB, LONG, assert_nothing_is_left, pass_by
from tests.e2e.servers.baseten_plane import BasetenPlane
from tests.e2e.servers.faulty import FaultyServer
from tests.e2e.servers.held_plane import CogPlane, HuggingFacePlane
from tests.e2e.servers.job_plane import RUN_S, JobPlane, Trouble
from tests.e2e.servers.modal_plane import ModalPlane
from tests.e2e.servers.potassium_plane import PotassiumPlane
from tests.e2e.servers.replicate_plane import ReplicatePlane
from tests.e2e.servers.runpod_plane import RunpodPlane
from tests.gateway.assembled import with_own_kinds

OF_A_JOB: tuple[Trouble, ...] = (
    "submit_no_id", "paused_in_words", "cancelled_early", "cancelled_at_once", "fails_early",
    "cancelled_late", "cancel_fails", "polls_fail", "polls_cut",
    "forgotten",
)  # fmt: skip
"""What cannot befall a call that is held to its end and has no name."""
NEVER_BEGUN: tuple[Trouble, ...] = ("cancelled_early", "cancelled_at_once", "fails_early")
OF_A_PLATFORM: tuple[Trouble, ...] = (
    "paused", "paused_in_words", "no_endpoint", "no_credit", "no_credit_in_words",
)  # fmt: skip
"""What does not befall a container of one's own."""


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """A platform with a queue: its stand-in, its backend, and what does not happen there."""

    plane: Callable[[FakeClock], JobPlane]
    backend: str
    spared: tuple[Trouble, ...] = ()
    task: Task = "chat"
    """Those of a handler's own calls have no streams here."""
    says: bytes = b"hello there"
    """Of a good answer."""
    states_times: bool = False
    """Else a call is timed from its submit to the poll that sees its end."""
    stops: bool = True
    """It ends a job that runs when it is told to."""


COMMON = "price: seconds, timeout: 6s, cold_start: {{p50: 1s, p95: 2s}}"
KEY = 'api_key: "${{PLANE_KEY}}"'
PLATFORMS: dict[str, Platform] = {
    "runpod": Platform(
        plane=RunpodPlane,
        backend='kind: runpod, endpoint: e, KEY, base_url: "{plane}/v2",'
        ' management_url: "{plane}/v2"',
        spared=("too_late",),
        states_times=True,
    ),
    "replicate": Platform(
        plane=ReplicatePlane,
        backend='kind: replicate, deployment: o/n, KEY, openai: true, base_url: "{plane}/v1",'
        " wait: 2s",
        states_times=True,
    ),
    "baseten": Platform(
        plane=BasetenPlane,
        backend='kind: baseten, model: m1, KEY, webhook: "https://hook.test/", base_url: "{plane}",'
        ' management_url: "{plane}/v1", poll_every: 100ms',
        spared=("cancelled_late", "fails_early"),
        task="infer",
        says=b"",
        stops=False,
    ),
    "potassium": Platform(
        plane=PotassiumPlane,
        backend='kind: potassium, background: true, base_url: "{plane}", poll_every: 100ms',
        spared=(*OF_A_PLATFORM, "submit_no_id", "stuck", *NEVER_BEGUN, "too_late"),
        task="infer",
    ),
    "huggingface": Platform(
        plane=HuggingFacePlane,
        backend='kind: huggingface, endpoint: o/n, KEY, base_url: "{plane}",'
        ' management_url: "{plane}/v2"',
        spared=tuple(one for one in OF_A_JOB if one != "cancelled_early"),
        stops=False,
    ),
    "cog": Platform(
        plane=CogPlane,
        backend='kind: cog, openai: true, base_url: "{plane}"',
        spared=(
            *OF_A_PLATFORM,
            *(one for one in OF_A_JOB if one not in ("cancelled_late", "cancel_fails")),
        ),
        states_times=True,
    ),
    "modal": Platform(
        plane=ModalPlane,
        backend='kind: modal, openai: true, url: "{plane}"',
        spared=(
            "submit_no_id",
            "paused_in_words",
            "stuck",
            *NEVER_BEGUN,
            "cancelled_late",
            "too_late",
            "cancel_fails",
        ),
        stops=False,
    ),
}
POLICY = """
version: 1
server: {{tls: "off", access_log: false}}
backends:
  alone: {{BACKEND}}
  auto: {{BACKEND}}
  always: {{BACKEND, repeat: always}}
  well: {{kind: http, base_url: "{well}", openai: {openai}, stream_path: /, price: fee}}
models:
  alone: {{task: {task}, backends: [alone]}}
  auto: {{task: {task}, backends: [auto, well]}}
  always: {{task: {task}, backends: [always, well], idempotent: true}}
  calm: {{task: {task}, backends: [well]}}
prices:
  fee: {{per_call: 0.015, as_of: 2026-11-01, source: test}}
  seconds: {{per_second: 0.001, bills: [run], as_of: 2026-11-01, source: test}}
routes:
  - {{name: all, use: [alone, auto, always, well], order: listed}}
plans:
  default: {{spend: 500 USD/month}}
"""
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)
NOT_RUN = ("submit_429", "submit_401", "stuck", *NEVER_BEGUN, *OF_A_PLATFORM, "too_late")
"""What the platform itself says was not run."""
CALLS = 12 if LONG else 3
SLACK_S = 0.5
"""Between the end of a job and the poll that sees it."""
ROUNDED_S = 0.001
NANO_A_SECOND = 1_000_000


@contextlib.asynccontextmanager
async def scene(
    folder: Path, clock: FakeClock, platform: Platform
) -> AsyncIterator[tuple[Scene, JobPlane]]:
    async with platform.plane(clock) as plane, FaultyServer() as well:
        openai = str(platform.task == "chat").lower()
        text = POLICY.replace("BACKEND", f"{platform.backend}, {COMMON}").replace("KEY", KEY)
        text = text.format(plane=plane.url, well=well.url, task=platform.task, openai=openai)
        async with with_own_kinds(folder, clock, text, {"PLANE_KEY": "k"}) as gateway:
            yield Scene(gateway, plane, platform.says), plane


CELLS = [
    pytest.param(model, platform, trouble, id=f"{model}-{name}-{trouble}")
    for model in ("alone", "auto", "always")
    for name, platform in PLATFORMS.items()
    for trouble in TROUBLES
    if trouble not in platform.spared and (model == "auto" or trouble not in OF_A_PLATFORM)
]


@pytest.mark.soak
@pytest.mark.parametrize(("model", "platform", "trouble"), CELLS)
async def test_no_trouble_of_a_queue_hangs_overcharges_or_hurts_a_neighbour(
    model: str, platform: Platform, trouble: Trouble, tmp_path: Path, clock: FakeClock
) -> None:
    async with scene(tmp_path, clock, platform) as (stage, plane):
        plane.trouble = trouble
        for number in range(CALLS):
            before = len(plane.jobs)
            told = await stage.call(model, stream=platform.task == "chat" and number % 2 == 1)
            billed = plane.billed_s(before)
            owed = WELL_COSTS if told.answered else 0
            assert told.charged <= owed + (billed + SLACK_S) * NANO_A_SECOND, (number, told, billed)
            if trouble in NOT_RUN:
                assert told.charged == owed, (number, told)
            if model == "always" or (model == "auto" and trouble in NOT_RUN):
                assert told.answered, (number, told)
            if model == "auto" and billed:
                assert not told.answered, (number, told, billed)
            assert told.answered is (told.backend == "well"), (number, told)
            calm = await stage.call("calm", stream=False, principal=BOB)
            assert (calm.answered, calm.charged) == (True, WELL_COSTS)
        plane.trouble = None
        await pass_by(clock, BACK_WITHIN_S)
        back = await stage.call(model, stream=False)
        assert (back.answered, back.backend) == (True, model)
        late_s = 0 if platform.states_times else SLACK_S
        assert RUN_S - ROUNDED_S <= back.charged / NANO_A_SECOND <= RUN_S + late_s + ROUNDED_S
        if platform.stops and trouble != "cancel_fails":
            assert plane.left == []
        await assert_nothing_is_left(stage)


WELL = [
    pytest.param(platform, stream, id=f"{name}-{'stream' if stream else 'whole'}")
    for name, platform in PLATFORMS.items()
    for stream in (False, True)
    if platform.task == "chat" or not stream
]


@pytest.mark.parametrize(("platform", "stream"), WELL)
@pytest.mark.parametrize("model", ["alone", "auto"])
async def test_a_queue_that_is_well_answers_and_is_charged_what_it_bills(
    model: str, stream: bool, platform: Platform, tmp_path: Path, clock: FakeClock
) -> None:
    async with scene(tmp_path, clock, platform) as (stage, plane):
        told = await stage.call(model, stream=stream)
        assert (told.answered, told.backend) == (True, model)
        late_s = 0 if platform.states_times else SLACK_S
        over_s = told.charged / NANO_A_SECOND - plane.billed_s()
        assert -ROUNDED_S <= over_s <= late_s + ROUNDED_S


@pytest.mark.parametrize("name", ["runpod", "replicate", "baseten"])
async def test_the_wait_in_a_queue_that_is_told_of_is_charged_nowhere(
    name: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with scene(tmp_path, clock, PLATFORMS[name]) as (stage, plane):
        plane.waits_s = 3.0
        told = await stage.call("alone", stream=False)
        assert told.answered
        assert told.charged <= (RUN_S + SLACK_S) * NANO_A_SECOND
