"""Jobs that are handed over, asked about by a handle, and followed: RunPod's and Replicate's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec
import pytest

from adapters.base import LongRunning, Streaming
from adapters.errors import BackendError, FailureClass
from adapters.replicate.api import ReplicateSettings
from adapters.replicate.backend import Replicate
from adapters.runpod.backend import RunPod
from adapters.settings import Secret
from adapters.types import Chunk, Handle, JobState
from gateway.clock import FakeClock
from tests.adapters.replicate import platform as replicate_platform
from tests.adapters.replicate.platform import KEY, output, prediction
from tests.adapters.runpod import platform as runpod_platform
from tests.adapters.runpod.platform import a_call, job
from tests.adapters.scenarios import Stage, call_for
from tests.adapters.servers import CUT, RawServer, Scripted, answer, chunked, drive, read_request
from tests.waiting import until

HANDLE = Handle(job="j1", call="c1", task="infer", submitted=0.0)


class Jobs(LongRunning, Streaming, Protocol):
    """Both abilities at once."""


@contextlib.asynccontextmanager
async def runpod(clock: FakeClock, *answers: bytes) -> AsyncIterator[Jobs]:
    async with runpod_platform.platform(clock, *answers) as (backend, _):
        yield backend


@contextlib.asynccontextmanager
async def replicate(clock: FakeClock, *answers: bytes) -> AsyncIterator[Jobs]:
    async with replicate_platform.platform(clock, *answers) as (backend, _):
        yield backend


async def all_of(chunks: AsyncIterator[Chunk]) -> bytes:
    return b"".join([chunk.data async for chunk in chunks])


Platform = Callable[..., contextlib.AbstractAsyncContextManager[Jobs]]


@pytest.mark.parametrize(
    ("platform", "name", "reply"),
    [(runpod, "j1", job("IN_QUEUE")), (replicate, "p1", prediction("starting", 201))],
)
async def test_a_handle_names_the_platforms_job_and_can_be_written_down(
    clock: FakeClock, platform: Platform, name: str, reply: bytes
) -> None:
    async with platform(clock, reply) as backend:
        handle = await backend.submit(a_call())
    assert handle == Handle(job=name, call="c1", task="infer", submitted=clock.time())
    assert msgspec.json.decode(msgspec.json.encode(handle), type=Handle) == handle


@pytest.mark.parametrize(
    ("platform", "states"),
    [
        (runpod, [job("IN_QUEUE"), job("IN_PROGRESS", output="early"), job(output={"y": 2})]),
        (
            replicate,
            [prediction("starting"), prediction("processing"), prediction(output={"y": 2})],
        ),
    ],
)
async def test_a_poll_says_how_the_job_stands_and_at_its_end_what_it_answered(
    clock: FakeClock, platform: Platform, states: list[bytes]
) -> None:
    async with platform(clock, *states) as backend:
        seen = [await backend.poll(HANDLE) for _ in states]
    assert [state.status for state in seen] == ["queued", "running", "done"]
    assert [state.reply and state.reply.body for state in seen] == [None, None, b'{"y":2}']


@pytest.mark.parametrize(
    ("platform", "end"),
    [
        (runpod, job("FAILED", error="boo", executionTime=5)),
        (replicate, prediction("failed", error="boo")),
    ],
)
async def test_a_job_that_failed_raises_why(
    clock: FakeClock, platform: Platform, end: bytes
) -> None:
    async with platform(clock, end) as backend:
        with pytest.raises(BackendError, match="boo") as caught:
            await backend.poll(HANDLE)
    assert caught.value.failure is FailureClass.FAILED


@pytest.mark.parametrize("platform", [runpod, replicate])
@pytest.mark.parametrize(
    "trouble", [answer(b"oops", 500), answer(b"{", 200), CUT], ids=["500", "no JSON", "cut"]
)
async def test_a_question_that_failed_is_not_the_jobs_own_end(
    clock: FakeClock, platform: Platform, trouble: bytes
) -> None:
    async with platform(clock, trouble) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.poll(HANDLE)
    assert caught.value.failure in (FailureClass.AMBIGUOUS, FailureClass.UNREACHABLE)


async def test_the_calls_deadline_is_the_jobs_own_limit_and_not_the_settings(
    clock: FakeClock,
) -> None:
    """A job may take hours where a held call may not."""
    async with runpod_platform.platform(clock, job("IN_QUEUE"), timeout=60.0) as (backend, script):
        await backend.submit(a_call(deadline=clock.monotonic() + 7200.0))
    assert script.targets() == ["POST /v2/ep/run"]
    policy = msgspec.json.decode(script.requests[0].body)["policy"]
    assert policy == {"executionTimeout": 7_200_000, "ttl": 7_200_000}


async def test_a_submit_that_was_left_can_be_cancelled(clock: FakeClock) -> None:
    """Its answer alone names the job: it is kept."""
    come, targets = asyncio.Event(), []
    answers = [job("IN_QUEUE"), answer({}), job("CANCELLED", executionTime=70)]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            targets.append((await read_request(reader)).target)
            await come.wait()
            writer.write(answers[len(targets) - 1])

    async with RawServer(talk).running() as server:
        backend = RunPod("rp", runpod_platform.settings_for(server.url), clock)
        await backend.start()
        task = asyncio.ensure_future(backend.submit(a_call()))
        await until(lambda: bool(targets))
        task.cancel()
        await asyncio.wait([task])
        come.set()
        usage = await backend.cancel("c1")
        await backend.aclose()
    assert task.cancelled()
    assert targets == ["/v2/ep/run", "/v2/ep/cancel/j1", "/v2/ep/status/j1"]
    assert usage is not None
    assert usage.exec_s == 0.07


async def test_stopping_a_job_that_has_ended_is_nothing(clock: FakeClock) -> None:
    answers = [answer({}, 400), job(executionTime=50), job(executionTime=50)]
    async with runpod_platform.platform(clock, *answers) as (backend, _):
        usage = await backend.stop(HANDLE)
    assert usage is not None
    assert usage.exec_s == 0.05


async def test_a_job_that_could_not_be_stopped_is_no_silence(clock: FakeClock) -> None:
    async with runpod_platform.platform(clock, answer({}, 500), job("IN_PROGRESS")) as (backend, _):
        with pytest.raises(BackendError, match="did not stop"):
            await backend.stop(HANDLE)


async def test_a_follower_that_loses_the_stream_leaves_the_job_alone(clock: FakeClock) -> None:
    """Its answer can still be polled; a caller's own stream, by contrast, is of no use then."""
    stream = [{"output": "a"}]
    answers = [job("IN_PROGRESS", stream=stream), CUT]
    async with runpod_platform.platform(clock, *answers) as (backend, script):
        chunks = await backend.follow(HANDLE, clock.monotonic() + 60)
        with pytest.raises(BackendError) as caught:
            await drive(clock, all_of(chunks))
    assert caught.value.failure is FailureClass.TRUNCATED
    assert not any("cancel" in target for target in script.targets())


async def test_a_prediction_whose_stream_breaks_under_a_follower_runs_on(clock: FakeClock) -> None:
    script = Scripted([chunked(output("a", 0), end=False) + CUT])
    async with RawServer(script.talk).running() as server:
        script.prepend(prediction("processing", urls={"stream": f"{server.url}/stream/p1"}))
        settings = ReplicateSettings(
            api_key=Secret(KEY), deployment="o/n", base_url=f"{server.url}/v1"
        )
        backend = Replicate("rep", settings, clock)
        await backend.start()
        chunks = await backend.follow(HANDLE, clock.monotonic() + 60)
        with pytest.raises(BackendError) as caught:
            await all_of(chunks)
        await backend.aclose()
    assert caught.value.failure is FailureClass.TRUNCATED
    assert [target.partition(" ")[0] for target in script.targets()] == ["GET", "GET"]


async def test_a_model_without_events_cannot_be_followed(clock: FakeClock) -> None:
    async with replicate(clock, prediction("processing")) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.follow(HANDLE, clock.monotonic() + 60)
    assert caught.value.failure is FailureClass.UNSUPPORTED


# --- real ones ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["runpod", "replicate"])
async def test_a_job_is_found_again_by_another_process_of_the_gateway(
    kind: str, stages: Callable[[str], Stage]
) -> None:
    stage = stages(kind)
    first, second = stage.backend(), stage.backend()
    assert isinstance(first, LongRunning)
    assert isinstance(second, LongRunning)
    await first.start()
    handle = await first.submit(call_for(stage.scenarios["echo"]))
    await first.aclose()
    await second.start()

    states: list[JobState] = []

    async def done() -> bool:
        states.append(await second.poll(handle))
        return states[-1].status == "done"

    try:
        await until(done, "the job is done")
    finally:
        await second.aclose()
    state = states[-1]
    assert state.reply is not None
    assert b"hello" in state.reply.body
    assert state.reply.usage.reported


@pytest.mark.parametrize("kind", ["runpod", "replicate"])
async def test_a_job_that_was_handed_over_is_stopped_by_its_handle(
    kind: str, stages: Callable[[str], Stage]
) -> None:
    stage = stages(kind)
    backend = stage.backend()
    assert isinstance(backend, LongRunning)
    await backend.start()
    try:
        handle = await backend.submit(call_for(stage.scenarios["slow"]))
        await until(lambda: stage.running() == 1)
        await backend.stop(handle)
        await until(lambda: stage.running() == 0)
        with pytest.raises(BackendError) as caught:
            await backend.poll(handle)
        assert caught.value.failure is FailureClass.CANCELLED
    finally:
        await backend.aclose()


@pytest.mark.parametrize("kind", ["runpod", "replicate"])
async def test_the_output_of_a_job_that_was_handed_over_can_be_followed(
    kind: str, stages: Callable[[str], Stage]
) -> None:
    stage = stages(kind)
    scenario = stage.scenarios["stream"]
    backend = stage.backend(scenario.endpoint)
    assert isinstance(backend, LongRunning)
    assert isinstance(backend, Streaming)
    await backend.start()
    try:
        handle = await backend.submit(call_for(scenario))
        chunks = await backend.follow(handle, float("inf"))
        data = await all_of(chunks)
    finally:
        await backend.aclose()
    assert data.count(b"data: ") == 3
