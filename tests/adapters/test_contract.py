"""What every kind of backend keeps, against something real behind each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable

import pytest

from adapters.base import Backend, Cancellable
from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk, Reply
from tests.adapters.scenarios import KEY, Stage, call_for, until
from tests.adapters.stages import ROOT, SCENARIOS

Stages = Callable[[str], Stage]

KINDS = sorted(SCENARIOS)
STREAMS = [
    (kind, name)
    for kind in KINDS
    for name, scenario in SCENARIOS[kind].items()
    if scenario.stream and scenario.fails is None
]
FAILURES = [
    (kind, name)
    for kind in KINDS
    for name, scenario in SCENARIOS[kind].items()
    if scenario.fails is not None
]


@contextlib.asynccontextmanager
async def started(stage: Stage, endpoint: str = "plain") -> AsyncIterator[Backend]:
    """A backend that must leave no task behind when it is closed."""
    before = asyncio.all_tasks()
    backend = stage.backend(endpoint)
    await begin(backend)
    try:
        yield backend
    finally:
        await backend.aclose()
    assert asyncio.all_tasks() == before


async def begin(backend: Backend) -> None:
    """Starts it and waits until it takes calls: a model loads while the gateway runs."""
    await backend.start()
    await until(lambda: backend.slots != 0, 20.0)


async def whole(reply: Reply) -> bytes:
    """All of an answer, however it comes."""
    if reply.chunks is None:
        return reply.body
    return b"".join([chunk.data async for chunk in reply.chunks])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_is_answered_with_json_and_what_it_used(kind: str, stages: Stages) -> None:
    stage = stages(kind)
    async with started(stage) as backend:
        reply = await backend.invoke(call_for(stage.scenarios["echo"]))
        assert b"hello" in reply.body
        assert json.loads(reply.body)
        assert reply.content_type == "application/json"
        assert reply.usage.exec_s is not None


@pytest.mark.parametrize("kind", KINDS)
async def test_many_calls_at_once_are_each_answered(kind: str, stages: Stages) -> None:
    stage = stages(kind)
    async with started(stage) as backend:
        calls = [call_for(stage.scenarios["echo"], f"c{number}") for number in range(16)]
        replies = await asyncio.gather(*(backend.invoke(call) for call in calls))
        assert len({reply.body for reply in replies}) == 1


@pytest.mark.parametrize(("kind", "name"), STREAMS)
async def test_a_stream_comes_in_events_and_tells_at_its_end_what_it_used(
    kind: str, name: str, stages: Stages
) -> None:
    stage = stages(kind)
    scenario = stage.scenarios[name]
    async with started(stage, scenario.endpoint) as backend:
        reply = await backend.invoke(call_for(scenario))
        assert reply.chunks is not None
        assert reply.content_type.startswith("text/event-stream")
        chunks: list[Chunk] = [chunk async for chunk in reply.chunks]
    data = b"".join(chunk.data for chunk in chunks)
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    assert data.count(b"data: ") >= 3
    last = chunks[-1].usage
    assert last is not None
    assert last.exec_s is not None


@pytest.mark.parametrize(("kind", "name"), FAILURES)
async def test_each_failure_has_its_class_and_says_nothing_that_it_should_not(
    kind: str, name: str, stages: Stages
) -> None:
    stage = stages(kind)
    scenario = stage.scenarios[name]
    async with started(stage, scenario.endpoint) as backend:
        with pytest.raises(BackendError) as caught:
            await whole(await backend.invoke(call_for(scenario)))
    error = caught.value
    assert error.failure is scenario.fails
    assert error.message
    assert KEY not in error.message + error.detail
    assert "Traceback" not in error.message
    assert str(ROOT) not in error.message


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deadline_is_kept(kind: str, stages: Stages) -> None:
    stage = stages(kind)
    async with started(stage) as backend:
        at_once = time.monotonic()
        call = call_for(stage.scenarios["slow"], "slow-1", at_once + 1.5)
        with pytest.raises(BackendError) as caught:
            await backend.invoke(call)
        assert caught.value.failure is FailureClass.TIMEOUT
        assert time.monotonic() - at_once < 5.0
        if isinstance(backend, Cancellable):
            await backend.cancel(call.id)
        await until(lambda: stage.running() == 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_call_stops_at_the_other_end(kind: str, stages: Stages) -> None:
    stage = stages(kind)
    async with started(stage) as backend:
        task = asyncio.ensure_future(backend.invoke(call_for(stage.scenarios["slow"])))
        await until(lambda: stage.running() == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if isinstance(backend, Cancellable):
            await backend.cancel("c1")
        await until(lambda: stage.running() == 0)
        assert "0 active" in repr(backend)
        assert (await backend.invoke(call_for(stage.scenarios["echo"], "c2"))).body


@pytest.mark.parametrize(("kind", "name"), STREAMS)
async def test_a_stream_that_is_left_holds_nothing(kind: str, name: str, stages: Stages) -> None:
    stage = stages(kind)
    scenario = stage.scenarios[name]
    async with started(stage, scenario.endpoint) as backend:
        reply = await backend.invoke(call_for(scenario))
        assert reply.chunks is not None
        await anext(reply.chunks)
        await reply.chunks.aclose()  # type: ignore[attr-defined]
        if isinstance(backend, Cancellable):
            await backend.cancel("c1")
        await until(lambda: "0 active" in repr(backend))
        await until(lambda: stage.running(scenario.endpoint) == 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_probe_answers_and_costs_no_call(kind: str, stages: Stages) -> None:
    stage = stages(kind)
    async with started(stage) as backend:
        await backend.invoke(call_for(stage.scenarios["echo"]))
        probe = await backend.probe()
        assert probe.ready
        assert stage.running() == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_twice_is_closing_once_and_then_calls_fail(kind: str, stages: Stages) -> None:
    stage = stages(kind)
    backend = stage.backend()
    await begin(backend)
    await backend.invoke(call_for(stage.scenarios["echo"]))
    await backend.aclose()
    await backend.aclose()
    with pytest.raises(BackendError):
        await backend.invoke(call_for(stage.scenarios["echo"]))


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_ends_the_calls_in_flight(kind: str, stages: Stages) -> None:
    """What still runs at a platform is ended there by the limits that the call's deadline set."""
    stage = stages(kind)
    backend = stage.backend()
    await begin(backend)
    call = call_for(stage.scenarios["slow"], deadline=time.monotonic() + 4.0)
    task = asyncio.ensure_future(backend.invoke(call))
    await until(lambda: stage.running() == 1)
    await backend.aclose()
    with pytest.raises(BackendError):
        await task
    await until(lambda: stage.running() == 0)
