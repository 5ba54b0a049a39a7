"""RunPod's streams, which are polls that drain."""

from __future__ import annotations

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.runpod.backend import RunPod
from adapters.types import Call, Chunk
from gateway.clock import FakeClock
from tests.adapters.runpod.platform import DONE, a_call, job, platform, polled
from tests.adapters.servers import answer, drive


async def chunks_of(clock: FakeClock, backend: RunPod, call: Call) -> list[Chunk]:
    async def all_of() -> list[Chunk]:
        reply = await backend.invoke(call)
        assert reply.chunks is not None
        return [chunk async for chunk in reply.chunks]

    return await drive(clock, all_of())


async def test_a_stream_is_run_then_drained_until_the_job_has_ended(clock: FakeClock) -> None:
    answers = [
        job("IN_QUEUE"),
        polled("IN_QUEUE"),
        polled("IN_PROGRESS", {"n": 0}, {"n": 1}),
        polled("COMPLETED", {"n": 2}),
        job(**DONE),
    ]
    async with platform(clock, *answers) as (backend, script):
        chunks = await chunks_of(clock, backend, a_call(stream=True))
    assert [target.split("/ep/")[1] for target in script.targets()] == [
        "run",
        *["stream/j1"] * 3,
        "status/j1",
    ]
    assert b"".join(chunk.data for chunk in chunks) == (
        b'data: {"n":0}\n\ndata: {"n":1}\n\ndata: {"n":2}\n\n'
    )
    last = chunks[-1].usage
    assert last is not None
    assert last.exec_s == 0.05


async def test_an_openai_stream_keeps_the_workers_own_events(clock: FakeClock) -> None:
    delta = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    usage = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    answers = [
        job("IN_QUEUE"),
        polled("IN_PROGRESS", delta + delta),
        polled("COMPLETED", usage, "data: [DONE]\n\n"),
        job(**DONE),
    ]
    async with platform(clock, *answers) as (backend, _):
        chunks = await chunks_of(clock, backend, a_call(stream=True, task="chat"))
    assert [chunk.kind for chunk in chunks] == ["data", "usage", "done"]
    assert b"".join(chunk.data for chunk in chunks).decode() == (
        delta + delta + usage + "data: [DONE]\n\n"
    )
    last = chunks[-1].usage
    assert last is not None
    assert (last.output_tokens, last.exec_s, last.worker) == (2, 0.05, "w1")


@pytest.mark.parametrize(
    ("first", "expected"),
    [([polled("IN_PROGRESS", 1)], FailureClass.TRUNCATED), ([], FailureClass.AMBIGUOUS)],
    ids=["begun", "not-begun"],
)
async def test_a_lost_poll_is_lost_output_so_the_stream_ends_and_its_job_is_stopped(
    clock: FakeClock, first: list[bytes], expected: FailureClass
) -> None:
    answers = [job("IN_QUEUE"), *first, b"", job("CANCELLED"), job("CANCELLED")]
    async with platform(clock, *answers) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await chunks_of(clock, backend, a_call(stream=True))
        assert caught.value.failure is expected
        assert "POST /v2/ep/cancel/j1" in script.targets()


async def test_a_poll_that_was_refused_drained_nothing_and_is_repeated(clock: FakeClock) -> None:
    answers = [job("IN_QUEUE"), answer({}, 429, Retry_After="1"), polled("COMPLETED", 1)]
    async with platform(clock, *answers, job(**DONE)) as (backend, _):
        chunks = await chunks_of(clock, backend, a_call(stream=True))
    assert chunks[0].data == b"data: 1\n\n"


async def test_a_stream_ends_at_the_deadline(clock: FakeClock) -> None:
    started = clock.monotonic()
    answers = [job("IN_QUEUE")] + [polled("IN_QUEUE")] * 100
    async with platform(clock, *answers) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await chunks_of(clock, backend, a_call(stream=True, deadline=started + 5.0))
        assert caught.value.failure is FailureClass.TIMEOUT
        assert clock.monotonic() - started < 5.3


async def test_a_handler_that_does_not_stream_gives_its_answer_as_one_event(
    clock: FakeClock,
) -> None:
    answers = [job("IN_QUEUE"), polled("COMPLETED"), job(**DONE)]
    async with platform(clock, *answers) as (backend, _):
        chunks = await chunks_of(clock, backend, a_call(stream=True))
    assert chunks[0].data == b'data: {"y":2}\n\n'
