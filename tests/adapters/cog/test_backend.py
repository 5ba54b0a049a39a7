"""A Cog container: what its answers make the adapter do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Backend
from adapters.cog import Cog, CogSettings
from adapters.errors import BackendError, FailureClass
from adapters.settings import Secret
from adapters.types import Call, Task
from gateway.clock import FakeClock, SystemClock
from tests.adapters.cog.stage import CogServer
from tests.adapters.scenarios import Stage, until
from tests.adapters.servers import CUT, Scripted, answer, chunked, drive, scripted
from tests.adapters.test_contract import whole

KEY = "cog-secret-4711"
DONE: dict[str, Any] = {"output": {"y": 2}, "metrics": {"predict_time": 0.25}}


def a_call(
    body: bytes = b'{"x":1}', *, stream: bool = False, task: Task = "infer", id: str = "c1"
) -> Call:
    return Call(id=id, model="m", task=task, body=body, stream=stream)


def prediction(status: str = "succeeded", http: int = 200, **fields: Any) -> bytes:
    return answer({"id": "c1", "status": status, **fields}, http)


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


@contextlib.asynccontextmanager
async def container(
    clock: FakeClock, *answers: bytes, **settings: Any
) -> AsyncIterator[tuple[Cog, Scripted]]:
    async with scripted(*answers) as (script, url):
        given = {"base_url": url, "api_key": Secret(KEY), "openai": True, **settings}
        backend = Cog("cog", CogSettings(**given), clock)
        await backend.start()
        try:
            yield backend, script
        finally:
            await backend.aclose()


async def failing(clock: FakeClock, *answers: bytes, call: Call | None = None) -> BackendError:
    async with container(clock, *answers) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await whole(await backend.invoke(call or a_call()))
        return caught.value


# --- whole answers ------------------------------------------------------------------------------


async def test_a_call_is_put_under_its_own_id_with_the_callers_bytes_inside(
    clock: FakeClock,
) -> None:
    odd = b'{ "x":1.50, "unknown":[] }'
    async with container(clock, prediction(**DONE)) as (backend, script):
        reply = await backend.invoke(a_call(odd))
    assert script.targets() == ["PUT /predictions/c1"]
    assert script.requests[0].body == b'{"input":' + odd + b"}"
    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert reply.body == b'{"y":2}'
    assert reply.usage.exec_s == 0.25
    assert reply.usage.queue_s == 0.0
    assert reply.usage.reported


async def test_no_prefer_header_is_sent_for_only_one_value_of_it_is_honoured(
    clock: FakeClock,
) -> None:
    async with container(clock, prediction(**DONE)) as (backend, script):
        await backend.invoke(a_call())
    assert "prefer" not in script.requests[0].headers


async def test_a_model_that_knows_no_openai_takes_infer_calls_alone(clock: FakeClock) -> None:
    async with container(clock, openai=False) as (backend, script):
        assert backend.capabilities.tasks == {"infer"}
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(task="chat"))
        assert caught.value.failure is FailureClass.UNSUPPORTED
        assert not script.requests


async def test_an_openai_answer_tells_its_tokens(clock: FakeClock) -> None:
    output = {"choices": [{"text": ""}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    async with container(clock, prediction(output=output)) as (backend, _):
        reply = await backend.invoke(a_call(task="chat"))
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 2)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (prediction("failed", error="boo"), FailureClass.FAILED),
        (prediction("canceled"), FailureClass.CANCELLED),
        (prediction("processing", 202), FailureClass.AMBIGUOUS),
        (prediction("canceled", 202), FailureClass.AMBIGUOUS),
        (answer({"error": "At capacity", "status": "failed"}, 409), FailureClass.OVERLOADED),
        (answer({"error": "Setup has not finished yet."}, 503), FailureClass.LOADING),
        (answer({}, 401), FailureClass.CREDENTIAL),
        (answer(b"no json", 400, "text/plain"), FailureClass.INVALID),
        (answer({"detail": []}, 422), FailureClass.INVALID),
        (answer({}, 500), FailureClass.FAILED),
        (answer(b"not json"), FailureClass.MALFORMED),
        (answer({"output": 1}), FailureClass.MALFORMED),
        (b"", FailureClass.AMBIGUOUS),
        (prediction(**DONE)[:-4] + CUT, FailureClass.TRUNCATED),
    ],
)
async def test_every_end_has_its_class(
    clock: FakeClock, reply: bytes, expected: FailureClass
) -> None:
    assert (await failing(clock, reply)).failure is expected


async def test_a_failed_model_is_http_200_and_its_run_is_charged(clock: FakeClock) -> None:
    failed = prediction(
        "failed",
        error=f"Prediction failed: boo {KEY}\nTraceback (most recent call last): secret",
        metrics={"predict_time": 1.5},
    )
    error = await failing(clock, failed)
    assert error.message == "Prediction failed: boo ***"
    assert error.usage is not None
    assert error.usage.exec_s == 1.5


async def test_a_refused_input_names_the_callers_field(clock: FakeClock) -> None:
    detail = [{"loc": ["body", "input", "x"], "msg": "1 is not a string", "type": "value_error"}]
    error = await failing(clock, answer({"detail": detail}, 422))
    assert error.param == "x"
    assert error.message == "x: 1 is not a string"


@pytest.mark.parametrize("body", [b"[]", b"{}x", b'{},"id":"other"', b'{"a":1}}', b"\xff"])
async def test_an_input_that_is_no_object_is_invalid_and_never_sent(
    clock: FakeClock, body: bytes
) -> None:
    async with container(clock) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(body))
        assert caught.value.failure is FailureClass.INVALID
        assert not script.requests


async def test_a_cancel_is_a_post_and_an_unknown_id_is_no_error(clock: FakeClock) -> None:
    async with container(clock, *[answer({}, 404)] * 2, b"") as (backend, script):
        assert await drive(clock, backend.cancel("c1")) is None
        assert await drive(clock, backend.cancel("c2")) is None
    paths = [f"POST /predictions/{call}/cancel" for call in ("c1", "c1", "c2")]
    assert script.targets() == paths


async def test_a_cancel_is_told_until_the_container_no_longer_knows_the_call(
    clock: FakeClock,
) -> None:
    """One that meets a call at its very start is lost, though it is answered with 200, and one
    that comes before it finds nothing: an id is unknown when it was so twice."""
    answers = answer({}, 404), answer({}), answer({}, 404), answer({}, 404)
    async with container(clock, *answers) as (backend, script):
        await drive(clock, backend.cancel("c1"))
    assert script.targets() == ["POST /predictions/c1/cancel"] * 4


# --- streams ------------------------------------------------------------------------------------


async def test_a_stream_is_cogs_own_events_told_in_ours(clock: FakeClock) -> None:
    body = chunked(
        event("start", id="c1", status="processing"),
        event("output", chunk="a", index=0) + b": keep-alive\n\n" + event("log", data="x"),
        event("output", chunk={"b": 1}, index=1) + event("something-new"),
        event("completed", id="c1", status="succeeded", **DONE),
    )
    async with container(clock, body) as (backend, script):
        reply = await backend.invoke(a_call(stream=True))
        assert reply.chunks is not None
        chunks = [chunk async for chunk in reply.chunks]
    assert script.requests[0].headers["accept"] == "text/event-stream"
    assert b"".join(chunk.data for chunk in chunks) == b'data: "a"\n\ndata: {"b": 1}\n\n'
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.exec_s == 0.25


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((event("output", chunk=1),), FailureClass.TRUNCATED),
        ((), FailureClass.TRUNCATED),
        ((event("error", detail="lagged"),), FailureClass.FAILED),
        ((event("output", chunk=1), event("error", detail="lagged")), FailureClass.TRUNCATED),
        ((event("output", chunk=1), event("completed", status="failed")), FailureClass.FAILED),
        ((event("completed", status="canceled"),), FailureClass.CANCELLED),
        ((b"event: output\ndata: {no json\n\n",), FailureClass.MALFORMED),
        ((b"event: completed\ndata: []\n\n",), FailureClass.MALFORMED),
    ],
)
async def test_every_end_of_a_stream_but_a_good_completed_is_a_failure(
    clock: FakeClock, pieces: tuple[bytes, ...], expected: FailureClass
) -> None:
    error = await failing(clock, chunked(*pieces), call=a_call(stream=True))
    assert error.failure is expected


async def test_a_model_without_a_stream_gives_its_answer_as_one_event(clock: FakeClock) -> None:
    answers = answer({"error": "no streaming"}, 406), prediction(**DONE)
    async with container(clock, *answers) as (backend, script):
        reply = await backend.invoke(a_call(stream=True))
        assert reply.chunks is not None
        chunks = [chunk async for chunk in reply.chunks]
    assert [chunk.data for chunk in chunks] == [b'data: {"y":2}\n\n']
    assert chunks[0].usage is not None
    assert len(script.requests) == 2


async def test_a_stream_of_an_id_that_runs_already_is_ambiguous(clock: FakeClock) -> None:
    error = await failing(clock, prediction("processing", 202), call=a_call(stream=True))
    assert error.failure is FailureClass.AMBIGUOUS


async def test_a_stream_that_refuses_its_input_says_which_field(clock: FakeClock) -> None:
    detail = [{"loc": ["body", "input", "x"], "msg": "no", "type": "value_error"}]
    error = await failing(clock, answer({"detail": detail}, 422), call=a_call(stream=True))
    assert (error.failure, error.param) == (FailureClass.INVALID, "x")


# --- the probe ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "ready", "starting"),
    [
        ("READY", True, 0),
        ("BUSY", True, 0),
        ("STARTING", False, 1),
        ("SETUP_FAILED", False, 0),
        ("DEFUNCT", False, 0),
        ("UNHEALTHY", False, 0),
    ],
)
async def test_the_probe_reads_the_status_and_not_the_code(
    clock: FakeClock, status: str, ready: bool, starting: int
) -> None:
    health = {"status": status, "setup": {"logs": "token=hidden"}}
    async with container(clock, answer(health)) as (backend, _):
        probe = await backend.probe()
    assert (probe.ready, probe.starting_workers) == (ready, starting)
    assert "hidden" not in probe.detail


@pytest.mark.parametrize("health", [answer(b"<html>", 502), answer([]), b""])
async def test_a_probe_of_something_else_is_not_ready(clock: FakeClock, health: bytes) -> None:
    async with container(clock, health) as (backend, _):
        assert not (await drive(clock, backend.probe())).ready


# --- Cog's own server ---------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def opened(backend: Backend) -> AsyncIterator[Backend]:
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


async def test_a_server_whose_slots_are_all_in_use_is_overloaded_and_still_warm(
    stages: Callable[[str], Stage],
) -> None:
    """The one slot is held by a stream that is not read to its end."""
    stage = stages("cog")
    many = a_call(b'{"pieces": 1200, "pause": 0.05}', stream=True, id="holds-the-slot")
    async with opened(stage.backend("stream")) as backend:
        reply = await backend.invoke(many)
        assert reply.chunks is not None
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(b"{}", id="finds-no-slot"))
        assert caught.value.failure is FailureClass.OVERLOADED
        assert (await backend.probe()).ready
        await reply.chunks.aclose()  # type: ignore[attr-defined]
        await until(lambda: stage.running("stream") == 0)


async def test_what_is_assumed_holds_at_cogs_own_server(stages: Callable[[str], Stage]) -> None:
    async with opened(stages("cog").backend()) as backend:
        assert isinstance(backend, Cog)
        found = await backend.assumptions()
    assert [(one.holds, one.found) for one in found] == [
        (True, "the container is READY"),
        (True, "HTTP 404"),
    ]


async def test_what_is_assumed_is_put_to_the_test(clock: FakeClock) -> None:
    """What answers otherwise is no Cog; what does not answer leaves it open."""
    answers = (answer({"ok": True}), answer({}, 200), b"", b"")
    async with container(clock, *answers) as (backend, script):
        found = [one.holds for _ in range(2) for one in await drive(clock, backend.assumptions())]
    assert found == [False, False, None, None]
    asked = ["GET /health-check", "POST /predictions/spillgate-no-such-call/cancel"]
    assert script.targets()[:2] == asked


async def test_two_calls_of_one_id_run_once(stages: Callable[[str], Stage]) -> None:
    async with opened(stages("cog").backend()) as backend:
        call = a_call(b'{"sleep": 60}', id="asked-twice")
        first = asyncio.ensure_future(backend.invoke(call))
        await until(lambda: stages("cog").running() == 1)
        with pytest.raises(BackendError) as caught:
            await backend.invoke(call)
        assert caught.value.failure is FailureClass.AMBIGUOUS
        assert stages("cog").running() == 1
        assert isinstance(backend, Cog)
        await backend.cancel(call.id)
        with pytest.raises(BackendError) as stopped:
            await first
        assert stopped.value.failure is FailureClass.CANCELLED


async def test_cogs_answers_lack_what_the_clouds_have_and_are_read_all_the_same(
    stages: Callable[[str], Stage],
) -> None:
    """No created_at, urls, model or version; and no GET to ask again with."""
    async with opened(stages("cog").backend()) as backend:
        reply = await backend.invoke(a_call(b'{"echo": "x"}', id="of-the-container"))
    assert reply.body == b'{"echo":"x"}'
    assert reply.usage.reported
    assert reply.usage.exec_s is not None


async def test_a_server_that_finds_no_python_is_not_waited_for_without_end() -> None:
    """It stays STARTING for ever: the probe says so, and a call is told LOADING at once."""
    with tempfile.TemporaryDirectory() as folder:
        server = CogServer(Path(folder), "Whole", slots=1, streams=False, path="/nowhere")
        try:
            await until(lambda: server.status() != "unreachable", 30.0)
            backend = Cog("cog", CogSettings(base_url=server.url), SystemClock())
            async with opened(backend):
                assert not (await backend.probe()).ready
                with pytest.raises(BackendError) as caught:
                    await backend.invoke(a_call(b"{}", id="too-early"))
                assert caught.value.failure is FailureClass.LOADING
        finally:
            server.close()


@pytest.mark.parametrize(("runner", "live"), [("Pieces", True), ("AsyncPieces", False)])
async def test_only_a_plain_generators_pieces_come_while_it_runs(runner: str, live: bool) -> None:
    """The model goes on only once the test has seen its first piece, or has waited in vain."""
    with tempfile.TemporaryDirectory() as folder:
        server = CogServer(Path(folder), runner, slots=1, streams=True)
        backend = Cog("cog", CogSettings(base_url=server.url), SystemClock())
        try:
            await until(lambda: server.status() == "READY", 30.0)
            async with opened(backend):
                call = a_call(b'{"pieces": 2, "gated": true}', stream=True, id=f"of-{runner}")
                asked = asyncio.ensure_future(backend.invoke(call))
                await until(lambda: server.running() == 1)
                await asyncio.wait([asked], timeout=20 if live else 1)
                assert asked.done() is live
                (Path(folder) / "go-on").touch()
                assert (await whole(await asked)).count(b"data: ") == 2
        finally:
            server.close()


async def test_a_container_whose_setup_failed_is_not_ready_and_refuses_as_loading() -> None:
    """A plain function cannot run two calls at once, which Cog finds in its setup."""
    with tempfile.TemporaryDirectory() as folder:
        server = CogServer(Path(folder), "Pieces", slots=2, streams=True)
        try:
            await until(lambda: server.status() == "SETUP_FAILED", 30.0)
            backend = Cog("cog", CogSettings(base_url=server.url), SystemClock())
            async with opened(backend):
                probe = await backend.probe()
                assert (probe.ready, probe.detail) == (False, "the container is SETUP_FAILED")
                with pytest.raises(BackendError) as caught:
                    await backend.invoke(a_call(b"{}"))
                assert caught.value.failure is FailureClass.LOADING
        finally:
            server.close()
