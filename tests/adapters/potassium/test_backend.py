"""A server with Potassium's face: what its answers make the adapter do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.potassium.api import PotassiumSettings
from adapters.potassium.backend import PotassiumBackend
from adapters.settings import Secret
from adapters.types import Call, Task
from gateway.clock import FakeClock
from tests.adapters.scenarios import until
from tests.adapters.servers import STALL, Scripted, answer, chunked, drive, scripted
from tests.adapters.test_contract import whole
from tests.live import free_port

KEY = "banana-secret-4711"


def a_call(body: bytes = b'{"x":1}', *, stream: bool = False, task: Task = "infer") -> Call:
    return Call(id="c1", model="m", task=task, body=body, stream=stream)


@contextlib.asynccontextmanager
async def opened(clock: FakeClock, url: str, **settings: Any) -> AsyncIterator[PotassiumBackend]:
    given = {"base_url": url, "api_key": Secret(KEY), **settings}
    backend = PotassiumBackend("potassium", PotassiumSettings(**given), clock)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


@contextlib.asynccontextmanager
async def server(
    clock: FakeClock, *answers: bytes, **settings: Any
) -> AsyncIterator[tuple[PotassiumBackend, Scripted]]:
    async with scripted(*answers) as (script, url), opened(clock, url, **settings) as backend:
        yield backend, script


async def failing(
    clock: FakeClock, *answers: bytes, call: Call | None = None, **settings: Any
) -> BackendError:
    async with server(clock, *answers, **settings) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(call or a_call()))
        return caught.value


# --- whole answers ------------------------------------------------------------------------------


async def test_a_call_is_one_post_with_the_callers_bytes_and_bananas_headers(
    clock: FakeClock,
) -> None:
    odd = b'{ "x":1.50, "unknown":[] }'
    async with server(clock, answer(b'{"y": 2.50}'), routes={"infer": "/go"}) as (backend, script):
        reply = await backend.invoke(a_call(odd))
    sent = script.requests[0]
    assert (script.targets(), sent.body) == (["POST /go"], odd)
    assert sent.headers["x-banana-request-id"] == "c1"
    assert sent.headers["x-banana-api-key"] == KEY
    assert reply.body == b'{"y": 2.50}'


async def test_an_answer_that_is_no_json_keeps_its_type(clock: FakeClock) -> None:
    async with server(clock, answer(b"\x00\xff", 200, "image/png")) as (backend, _):
        reply = await backend.invoke(a_call())
    assert (reply.body, reply.content_type) == (b"\x00\xff", "image/png")


async def test_a_route_for_chat_is_asked_as_an_openai_server_is(clock: FakeClock) -> None:
    said = {"choices": [{"text": ""}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    async with server(clock, answer(said), routes={"chat": "/chat"}) as (backend, script):
        reply = await backend.invoke(a_call(task="chat"))
        assert backend.capabilities.tasks == {"chat"}
    assert script.targets() == ["POST /chat"]
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 2)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(b"", 400, "text/html"), FailureClass.INVALID),
        (answer({}, 401), FailureClass.CREDENTIAL),
        (answer(b"<html>", 404, "text/html"), FailureClass.GONE),
        (answer(b"<html>", 405, "text/html"), FailureClass.UNSUPPORTED),
        (answer({}, 413), FailureClass.TOO_LARGE),
        (answer(b"busy", 423, "text/plain"), FailureClass.OVERLOADED),
        (answer({}, 503), FailureClass.OVERLOADED),
        (answer({"error": {"message": "the model is loading"}}, 503), FailureClass.LOADING),
        (answer({}, 504), FailureClass.TIMEOUT),
        (b"", FailureClass.AMBIGUOUS),
    ],
)
async def test_every_refusal_has_its_class(
    clock: FakeClock, reply: bytes, expected: FailureClass
) -> None:
    assert (await failing(clock, reply)).failure is expected


async def test_a_traceback_stays_with_the_operator(clock: FakeClock) -> None:
    said = b"Traceback (most recent call last):\n  File secret.py\nValueError: boo"
    error = await failing(clock, answer(said, 500, "text/plain"))
    assert error.failure is FailureClass.FAILED
    assert error.message == "The backend answered with status 500."


# --- a closed port is a cold start --------------------------------------------------------------


async def test_a_closed_port_is_a_start_and_never_an_ambiguous_submit(clock: FakeClock) -> None:
    async with opened(clock, f"http://127.0.0.1:{free_port()}") as backend:
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(a_call()))
        assert caught.value.failure is FailureClass.LOADING
        probe = await drive(clock, backend.probe())
        assert (probe.ready, probe.warm_workers) == (False, 0)
        with pytest.raises(BackendError) as pinged:
            await drive(clock, backend.ping())
        assert pinged.value.failure is FailureClass.LOADING


async def test_a_port_that_stays_closed_is_a_fault(clock: FakeClock) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with opened(clock, url, start_timeout=60.0) as backend:
        for expected in (FailureClass.LOADING, FailureClass.UNREACHABLE):
            with pytest.raises(BackendError) as caught:
                await drive(clock, backend.invoke(a_call()))
            assert caught.value.failure is expected
            await clock.advance(61.0)


async def test_a_call_waits_for_a_start_as_long_as_it_may_and_says_so(clock: FakeClock) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with opened(clock, url, start_wait=5.0) as backend:
        call = a_call()
        began = clock.monotonic()
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(call))
        assert caught.value.failure is FailureClass.LOADING
        assert 5.0 <= clock.monotonic() - began < 6.0
        assert call.progress.queued_until >= began + 4.0


async def test_a_call_that_waited_for_a_start_is_sent_once_and_says_how_long(
    clock: FakeClock,
) -> None:
    port = free_port()
    script = Scripted([answer({"y": 1})])
    async with opened(clock, f"http://127.0.0.1:{port}", start_wait=60.0) as backend:
        asked = asyncio.ensure_future(drive(clock, backend.invoke(a_call())))
        await until(lambda: clock.monotonic() > 1.0)
        listening = await asyncio.start_server(_talking(script), "127.0.0.1", port)
        reply = await asked
        listening.close()
    assert reply.usage.cold_s is not None
    assert reply.usage.cold_s > 0
    assert script.targets() == ["POST /"]


async def test_a_server_that_says_it_loads_is_waited_for_too(clock: FakeClock) -> None:
    loads = answer({"error": {"message": "the model is loading"}}, 503)
    async with server(clock, loads, loads, answer({"y": 1}), start_wait=60.0) as (backend, script):
        reply = await drive(clock, backend.invoke(a_call()))
    assert reply.usage.cold_s
    assert len(script.requests) == 3
    error = await failing(clock, loads)
    assert error.failure is FailureClass.LOADING


def _talking(script: Scripted) -> Any:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await script.talk(reader, writer)
        writer.close()

    return talk


# --- streams ------------------------------------------------------------------------------------


async def test_a_stream_of_text_is_one_event_a_piece_and_cuts_no_letter(clock: FakeClock) -> None:
    word = "né".encode()
    body = chunked(word[:2], word[2:], content_type="text/plain")
    async with server(clock, body) as (backend, script):
        reply = await backend.invoke(a_call(stream=True))
        data = await whole(reply)
    assert script.requests[0].headers["accept"] == "text/event-stream"
    pieces = [json.loads(event[6:]) for event in data.strip().split(b"\n\n")]
    assert "".join(pieces) == "né"


async def test_a_handler_that_answers_whole_gives_one_event(clock: FakeClock) -> None:
    async with server(clock, answer(b'{"a": [1,\n 2]}')) as (backend, _):
        reply = await backend.invoke(a_call(stream=True))
        assert await whole(reply) == b'data: {"a":[1,2]}\n\n'


async def test_the_runtimes_end_marker_is_not_the_callers(clock: FakeClock) -> None:
    body = chunked(b'data: {"a":1}\n\n', b'data: {"error":1}\n\ndata: [DONE]\n\n')
    async with server(clock, body) as (backend, _):
        data = await whole(await backend.invoke(a_call(stream=True)))
    assert data == b'data: {"a":1}\n\ndata: {"error":1}\n\n'


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((b'data: {"error": {"message": "boo", "code": "failed"}}\n\n',), FailureClass.FAILED),
        ((b'event: exception\ndata: {"message": "boo"}\n\n',), FailureClass.FAILED),
        (
            (b'data: {"a":1}\n\n', b'data: {"error": {"message": "boo"}}\n\n'),
            FailureClass.TRUNCATED,
        ),
        ((), FailureClass.MALFORMED),
    ],
)
async def test_an_error_in_a_stream_is_no_part_of_the_answer(
    clock: FakeClock, pieces: tuple[bytes, ...], expected: FailureClass
) -> None:
    async with server(clock, chunked(*pieces)) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await whole(await backend.invoke(a_call(stream=True)))
        assert caught.value.failure is expected


async def test_a_stream_of_text_with_nothing_in_it_is_a_failure(clock: FakeClock) -> None:
    error = await failing(clock, chunked(content_type="text/plain"), call=a_call(stream=True))
    assert error.failure is FailureClass.MALFORMED


async def test_a_stream_that_hangs_is_ended_by_the_idle_limit(clock: FakeClock) -> None:
    hanging = chunked(b"a", content_type="text/plain", end=False)
    async with server(clock, hanging, stall_timeout=30.0) as (backend, _):
        reply = await backend.invoke(a_call(stream=True))
        began = clock.monotonic()
        with pytest.raises(BackendError) as caught:
            await drive(clock, whole(reply))
        assert caught.value.failure is FailureClass.TIMEOUT
        assert clock.monotonic() - began < 31.0


# --- background calls ---------------------------------------------------------------------------


async def test_a_background_call_without_a_name_is_answered_with_its_beginning(
    clock: FakeClock,
) -> None:
    async with server(clock, answer({"started": True}), background=True) as (backend, script):
        reply = await backend.invoke(a_call())
        assert not backend.capabilities.streaming
    assert reply.body == b'{"started":true}'
    assert len(script.requests) == 1


async def test_a_background_call_with_a_name_is_waited_for(clock: FakeClock) -> None:
    answers = (
        answer({"job_id": "j1"}, 202),
        answer({"job_id": "j1", "status": "running"}),
        answer({}, 500),
        answer(b'{"job_id": "j1", "status": "completed", "output": {"y": 2.50}}'),
    )
    async with server(clock, *answers, background=True) as (backend, script):
        reply = await drive(clock, backend.invoke(a_call()))
    assert reply.body == b'{"y": 2.50}'
    assert script.targets() == ["POST /", *["GET /_k/jobs/j1"] * 3]


@pytest.mark.parametrize(
    ("status", "expected"),
    [("failed", FailureClass.FAILED), ("cancelled", FailureClass.CANCELLED)],
)
async def test_a_background_call_that_failed_is_a_failure(
    clock: FakeClock, status: str, expected: FailureClass
) -> None:
    ended = answer({"job_id": "j1", "status": status, "error": f"boo {KEY}"})
    error = await failing(clock, answer({"job_id": "j1"}), ended, background=True)
    assert (error.failure, error.message) == (expected, "boo ***")


async def test_a_background_call_is_cancelled_by_its_name(clock: FakeClock) -> None:
    async with server(clock, answer({"job_id": "j1"}), STALL, background=True) as (backend, script):
        task = asyncio.ensure_future(backend.invoke(a_call()))
        await until(lambda: len(script.requests) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        script.prepend(answer({"status": "cancelled"}))
        await drive(clock, backend.cancel("c1"))
        await drive(clock, backend.cancel("unknown"))
    assert script.targets()[-1] == "POST /_k/jobs/j1/cancel"


# --- the probe ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "ready", "detail"),
    [
        ({"gpu_available": True, "sequence_number": 0}, True, ""),
        ({"gpu_available": False, "inference_time": 1500}, True, "busy"),
        ({"gpu_available": False, "inference_time": 0}, False, "loads"),
        ({"gpu_available": False, "inference_time": 700_000}, False, "worker is lost"),
        ({"oops": 1}, False, "/_k/status answers 200"),
    ],
)
async def test_the_probe_tells_busy_from_loading_from_lost(
    clock: FakeClock, status: dict[str, Any], ready: bool, detail: str
) -> None:
    async with server(clock, answer(status)) as (backend, _):
        probe = await backend.probe()
    assert probe.ready is ready
    assert detail in probe.detail


async def test_what_is_assumed_is_put_to_the_test(clock: FakeClock) -> None:
    answers = (answer({"gpu_available": True}), answer({"oops": 1}), answer({}, 404))
    async with server(clock, *answers) as (backend, _):
        found = [(await backend.assumptions())[0].holds for _ in answers]
    assert found == [True, False, False]


async def test_a_ping_is_a_warm_up(clock: FakeClock) -> None:
    async with server(clock, answer({"warm": True}), answer({}, 503)) as (backend, script):
        assert (await backend.ping()).exec_s is not None
        with pytest.raises(BackendError):
            await backend.ping()
    assert script.targets() == ["POST /_k/warmup"] * 2


@pytest.mark.parametrize(
    "settings",
    [
        {"routes": {}},
        {"routes": {"dance": "/"}},
        {"routes": {"infer": "no-slash"}},
        {"routes": {"chat": "/"}, "background": True},
        {"base_url": "ftp://x"},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"route|background|URL"):
        PotassiumSettings(**{"base_url": "http://127.0.0.1:1", **settings})
