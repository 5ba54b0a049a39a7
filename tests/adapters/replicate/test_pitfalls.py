"""What is known to go wrong with Replicate's cloud, one test each."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.polling import LONGEST_PAUSE
from adapters.settings import Secret
from adapters.types import Reply
from gateway.clock import FakeClock
from tests.adapters.replicate.platform import (
    DONE,
    KEY,
    OVER,
    SILENT,
    a_call,
    failing,
    named,
    output,
    platform,
    prediction,
)
from tests.adapters.servers import STALL, answer, chunked, drive


async def all_of(reply: Reply) -> bytes:
    assert reply.chunks is not None
    return b"".join([chunk.data async for chunk in reply.chunks])


# --- creating -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 202])
@pytest.mark.parametrize("status", ["starting", "processing", "something-new"])
async def test_the_status_decides_and_never_the_code(
    clock: FakeClock, code: int, status: str
) -> None:
    answers = [prediction(status, code), prediction("processing"), prediction(**DONE)]
    async with platform(clock, *answers) as (backend, script):
        reply = await drive(clock, backend.invoke(a_call()))
    assert script.targets()[1:] == ["GET /v1/predictions/p1"] * 2
    assert reply.body == b'{"y":2}'


async def test_output_under_an_unfinished_status_is_progress(clock: FakeClock) -> None:
    """File models fill it in early; what is charged is known only once they have ended."""
    answers = [prediction("processing", 201, output="early"), prediction(**DONE)]
    async with platform(clock, *answers) as (backend, _):
        reply = await drive(clock, backend.invoke(a_call()))
    assert reply.body == b'{"y":2}'
    assert reply.usage.exec_s == 0.25


async def test_an_aborted_prediction_is_over_and_free(clock: FakeClock) -> None:
    error = await failing(clock, prediction("starting", 201), prediction("aborted"))
    assert error.failure is FailureClass.NOT_STARTED
    assert error.usage is not None
    assert (error.usage.exec_s, error.usage.reported) == (0.0, True)


@pytest.mark.parametrize("what", [{"model": "o/n"}, {"deployment": "o/n"}, {"version": "o/n:9f"}])
async def test_the_wait_is_sent_whatever_is_run(clock: FakeClock, what: dict[str, Any]) -> None:
    async with platform(clock, prediction(**DONE), wait=20.0, **what) as (backend, script):
        await backend.invoke(a_call())
    assert script.requests[0].headers["prefer"] == "wait=20"


async def test_a_create_that_is_never_answered_has_our_own_deadline(
    clock: FakeClock,
) -> None:
    started = clock.monotonic()
    error = await failing(clock, STALL, call=a_call(deadline=started + 8.0))
    assert error.failure is FailureClass.TIMEOUT
    assert clock.monotonic() - started < 9.0


async def test_no_header_keeps_a_poll_away_for_long(clock: FakeClock) -> None:
    throttled = answer({"detail": "slower"}, 429, Retry_After="3600")
    answers = [prediction("starting", 201), throttled, prediction(**DONE)]
    started = clock.monotonic()
    async with platform(clock, *answers) as (backend, _):
        await drive(clock, backend.invoke(a_call()), step=0.5)
    assert clock.monotonic() - started < LONGEST_PAUSE + 2.0


async def test_an_output_that_was_removed_is_not_an_empty_answer(
    clock: FakeClock,
) -> None:
    error = await failing(clock, prediction(**{**DONE, "output": None, "data_removed": True}))
    assert error.failure is FailureClass.FAILED
    assert error.usage is not None


# --- streams ------------------------------------------------------------------------------------


async def test_text_is_joined_from_its_lines(clock: FakeClock) -> None:
    stream = chunked(output("a\nb", 0), OVER)
    async with platform(clock, stream, prediction(**DONE), streams=True) as (backend, _):
        reply = await drive(clock, backend.invoke(a_call(stream=True)))
        assert await drive(clock, all_of(reply)) == b'data: "a\\nb"\n\n'


@pytest.mark.parametrize(
    ("end", "record", "expected"),
    [
        (b"", prediction("canceled"), FailureClass.TRUNCATED),
        (named("done", reason="canceled"), prediction("canceled"), FailureClass.CANCELLED),
        (named("done", reason="error"), prediction("failed", error="x"), FailureClass.FAILED),
    ],
)
async def test_only_a_done_without_a_reason_is_a_good_end(
    clock: FakeClock, end: bytes, record: bytes, expected: FailureClass
) -> None:
    stream = chunked(output("a", 0), end)
    async with platform(clock, stream, record, answer({}), streams=True) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await drive(clock, all_of(await drive(clock, backend.invoke(a_call(stream=True)))))
    assert caught.value.failure is expected


async def test_a_stream_closed_for_its_silence_is_taken_up_after_the_last_event(
    clock: FakeClock,
) -> None:
    """And a cold start, in which it is closed without one word, is known for a wait."""
    call = a_call(stream=True)
    answers = [
        chunked(SILENT),
        prediction("starting"),
        chunked(output("a", 0), output("b", 1), SILENT),
        chunked(output("c", 2), OVER),
        prediction(**DONE),
    ]
    async with platform(clock, *answers, streams=True) as (backend, script):
        began = clock.monotonic()
        reply = await drive(clock, backend.invoke(call))
        data = await drive(clock, all_of(reply))
    assert data == b'data: "a"\n\ndata: "b"\n\ndata: "c"\n\n'
    asked = [r.headers.get("last-event-id") for r in script.requests if "/stream" in r.target]
    assert asked == [None, None, "1:1"]
    assert call.progress.queued_until >= began


async def test_frames_without_an_id_and_unknown_names_lose_nothing(
    clock: FakeClock,
) -> None:
    stream = chunked(output("a"), named("something-new", x=1), output("b"), OVER)
    async with platform(clock, stream, prediction(**DONE), streams=True) as (backend, _):
        reply = await drive(clock, backend.invoke(a_call(stream=True)))
        assert await drive(clock, all_of(reply)) == b'data: "a"\n\ndata: "b"\n\n'


ERROR_EVENT = b'data: {"error":{"message":"CUDA error","code":500}}'


@pytest.mark.parametrize("first", [[], [output('data: {"choices":[]}\n\n', 0)]])
async def test_a_stream_that_ends_in_an_error_event_stops_its_prediction(
    clock: FakeClock, first: list[bytes]
) -> None:
    """The model would go on, and be charged for, with nobody to read the rest."""
    stream = chunked(*first, output(ERROR_EVENT.decode() + "\n\n", 1))
    stopped = prediction("canceled", metrics={"predict_time": 2.0})
    call = a_call(b'{"model":"m"}', stream=True, task="chat")
    async with platform(clock, stream, stopped, streams=True, openai=True) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await drive(clock, all_of(await drive(clock, backend.invoke(call))))
    assert script.targets()[-1] == "POST /v1/predictions/p1/cancel"
    assert caught.value.usage is not None
    assert caught.value.usage.exec_s == 2.0


async def test_an_error_event_of_the_platform_stops_what_may_still_run(clock: FakeClock) -> None:
    stream = chunked(output("a", 0), named("error", detail="boo"))
    answers = [stream, answer({}, 401), prediction("canceled", metrics={"predict_time": 1.0})]
    async with platform(clock, *answers, streams=True) as (backend, script):
        with pytest.raises(BackendError):
            await drive(clock, all_of(await drive(clock, backend.invoke(a_call(stream=True)))))
    assert script.targets()[-1] == "POST /v1/predictions/p1/cancel"


async def test_a_caller_who_leaves_a_stream_leaves_no_prediction(clock: FakeClock) -> None:
    stream = chunked(output("a", 0), end=False)
    stopped = prediction("canceled", metrics={"predict_time": 1.0})
    async with platform(clock, stream, stopped, streams=True) as (backend, script):
        reply = await drive(clock, backend.invoke(a_call(stream=True)))
        assert reply.chunks is not None
        await reply.chunks.aclose()  # type: ignore[attr-defined]
        usage = await backend.cancel("c1")
    assert script.targets()[-1] == "POST /v1/predictions/p1/cancel"
    assert usage is not None
    assert usage.exec_s == 1.0


# --- webhooks and limits ------------------------------------------------------------------------


async def test_a_webhook_is_told_and_the_prediction_polled_all_the_same(
    clock: FakeClock,
) -> None:
    """Only the last event is sent again when it was not taken, and even that for a minute."""
    url = "https://hooks.example/9c1d"
    answers = [prediction("starting", 201), prediction("failed", error=f"told {url} {KEY}")]
    async with platform(clock, *answers, webhook=Secret(url)) as (backend, script):
        with contextlib.suppress(BackendError):
            await drive(clock, backend.invoke(a_call()))
    sent = json.loads(script.requests[0].body)
    assert (sent["webhook"], sent["webhook_events_filter"]) == (url, ["completed"])
    assert script.targets()[1] == "GET /v1/predictions/p1"


async def test_the_address_of_a_webhook_is_never_shown(clock: FakeClock) -> None:
    url = "https://hooks.example/9c1d"
    async with platform(clock, prediction("failed", error=url), webhook=Secret(url)) as (one, _):
        with pytest.raises(BackendError) as caught:
            await one.invoke(a_call())
    assert caught.value.message == "***"


async def test_a_throttled_create_says_when_to_come_again_though_only_in_prose(
    clock: FakeClock,
) -> None:
    detail = {"detail": "Request was throttled. Your rate limit resets in ~30s."}
    assert (await failing(clock, answer(detail, 429))).retry_after == 30.0
    assert (await failing(clock, answer(detail, 429, retry_after="7"))).retry_after == 7.0


async def test_a_prediction_that_starts_tells_its_call_that_it_waits(clock: FakeClock) -> None:
    """Queue and start of an instance cost a public model's caller nothing."""
    call = a_call()
    answers = [prediction("starting", 201), *[prediction("starting")] * 3, prediction("processing")]
    async with platform(clock, *answers, prediction(**DONE)) as (backend, _):
        began = clock.monotonic()
        await drive(clock, backend.invoke(call))
    assert began + 1.0 <= call.progress.queued_until <= began + 2.0
