"""Replicate's event streams: raw text, silence, and what is an end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.replicate.api import ReplicateSettings
from adapters.replicate.backend import Replicate
from adapters.settings import Secret
from adapters.types import Chunk
from gateway.clock import FakeClock, SystemClock
from tests.adapters.replicate.platform import (
    DONE,
    KEY,
    OVER,
    SILENT,
    a_call,
    named,
    output,
    platform,
    prediction,
)
from tests.adapters.replicate.stage import cloud_running
from tests.adapters.scenarios import KEY as STAGE_KEY
from tests.adapters.servers import answer, chunked, drive


async def taken(backend: Replicate) -> list[Chunk]:
    reply = await backend.invoke(a_call(stream=True))
    assert reply.chunks is not None
    return [chunk async for chunk in reply.chunks]


async def told(clock: FakeClock, *answers: bytes) -> tuple[bytes, list[str | None]]:
    """All that a caller is sent, and the Last-Event-ID of each request for the stream."""
    async with platform(clock, *answers, streams=True) as (backend, script):
        chunks = await drive(clock, taken(backend))
    asked = [r.headers.get("last-event-id") for r in script.requests if "/stream" in r.target]
    return b"".join(chunk.data for chunk in chunks), asked


async def broken(clock: FakeClock, *answers: bytes) -> tuple[BackendError, Sequence[str]]:
    async with platform(clock, *answers, streams=True) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await drive(clock, taken(backend))
        return caught.value, script.targets()


async def test_text_is_joined_from_its_lines_and_told_as_json(clock: FakeClock) -> None:
    stream = chunked(output("a", 0), output('b\n\n"c"', 1) + b": hi\n\n" + output("", 2) + OVER)
    data, _ = await told(clock, stream, prediction(**DONE))
    assert data == b'data: "a"\n\ndata: "b\\n\\n\\"c\\""\n\ndata: ""\n\n'


async def test_a_stream_tells_at_its_end_what_the_prediction_used(clock: FakeClock) -> None:
    stream = chunked(output("a", 0), OVER)
    async with platform(clock, stream, prediction(**DONE), streams=True) as (backend, script):
        chunks = await drive(clock, taken(backend))
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.exec_s == 0.25
    assert "prefer" not in script.requests[0].headers
    assert script.requests[1].headers["authorization"] == f"Bearer {KEY}"


async def test_a_silence_that_cannot_be_taken_up_is_a_cut(clock: FakeClock) -> None:
    """Without an id the platform would tell all from the beginning, twice."""
    cancelled = prediction("canceled", metrics={"predict_time": 1.0})
    error, targets = await broken(clock, chunked(output("a"), SILENT), cancelled)
    assert error.failure is FailureClass.TRUNCATED
    assert targets[-1] == "POST /v1/predictions/p1/cancel"
    assert error.usage is not None
    assert error.usage.exec_s == 1.0


async def test_a_stream_without_done_is_cut_and_its_prediction_stopped(clock: FakeClock) -> None:
    error, targets = await broken(
        clock, chunked(output("a", 0)), prediction("canceled"), answer({})
    )
    assert error.failure is FailureClass.TRUNCATED
    assert "POST /v1/predictions/p1/cancel" in targets


@pytest.mark.parametrize(
    "stream", [chunked(), chunked(b"", end=False), answer({"detail": "not yet"}, 503)]
)
async def test_a_stream_that_breaks_before_its_first_event_has_lost_nothing(
    clock: FakeClock, stream: bytes
) -> None:
    """The prediction runs on, so it is neither run again elsewhere nor given up."""
    data, _ = await told(clock, stream, prediction("processing"), prediction(**DONE))
    assert data == b'data: {"y":2}\n\n'


@pytest.mark.parametrize(
    ("events", "record", "expected"),
    [
        (named("done", reason="canceled"), prediction("canceled"), FailureClass.CANCELLED),
        (named("done", reason="error"), prediction("failed", error="boo"), FailureClass.FAILED),
        (named("done", reason="error"), prediction(**DONE), FailureClass.FAILED),
        (named("done", reason="canceled"), answer({}, 404), FailureClass.CANCELLED),
        (named("error", detail="boo"), prediction("failed", error="boo"), FailureClass.FAILED),
        (named("error", detail="boo"), answer({}, 404), FailureClass.TRUNCATED),
    ],
)
async def test_done_with_a_reason_and_an_error_are_no_good_end(
    clock: FakeClock, events: bytes, record: bytes, expected: FailureClass
) -> None:
    error, _ = await broken(clock, chunked(output("a", 0), events), record)
    assert error.failure is expected


async def test_a_record_that_cannot_be_read_does_not_spoil_a_stream_that_is_done(
    clock: FakeClock,
) -> None:
    data, _ = await told(clock, chunked(output("a", 0), OVER), answer({}, 404))
    assert data == b'data: "a"\n\n'


async def test_a_model_without_a_stream_gives_its_answer_as_one_event(clock: FakeClock) -> None:
    async with platform(clock, prediction("starting", 201), prediction(**DONE)) as (backend, _):
        chunks = await drive(clock, taken(backend))
    assert [chunk.data for chunk in chunks] == [b'data: {"y":2}\n\n']


async def test_a_stream_at_another_host_is_not_followed(clock: FakeClock) -> None:
    elsewhere = prediction("starting", 201, urls={"stream": "http://127.0.0.2:1/stream"})
    async with platform(clock, elsewhere, prediction(**DONE)) as (backend, script):
        chunks = await drive(clock, taken(backend))
    assert b"".join(chunk.data for chunk in chunks) == b'data: {"y":2}\n\n'
    assert script.targets()[1:] == ["GET /v1/predictions/p1"]


async def test_a_cloud_that_closes_silent_streams_loses_no_word() -> None:
    """The cloud of the tests, with a patience of 50 ms where the live one has 30 s."""
    with cloud_running(idle=0.05) as (_, url):
        settings = ReplicateSettings(
            model="o/n", api_key=Secret(STAGE_KEY), base_url=f"{url}/v1", poll_every=0.02
        )
        backend = Replicate("rep", settings, SystemClock())
        await backend.start()
        try:
            call = a_call(b'{"sleep": 0.3, "words": ["a", "b"]}', stream=True)
            reply = await backend.invoke(call)
            assert reply.chunks is not None
            data = b"".join([chunk.data async for chunk in reply.chunks])
        finally:
            await backend.aclose()
    assert data == b'data: "a"\n\ndata: "b"\n\n'
