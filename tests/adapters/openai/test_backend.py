"""An OpenAI-compatible upstream, as its answers come over the wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.openai.backend import OpenAICompatible, OpenAISettings
from adapters.settings import Secret
from adapters.types import Call, Chunk, Reply, Task, Usage
from gateway.clock import FakeClock, settle
from tests.adapters.servers import (
    CUT,
    STALL,
    RawServer,
    Scripted,
    answer,
    chunked,
    drive,
    read_request,
    scripted,
)

KEY = "sk-secret-4711"
BODY = b'{ "model":"m", "messages":[],"odd_field": 1.50 }'
VECTORS = {"data": [{"embedding": [0.5]}]}
WHOLE = {"choices": [{"text": ""}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
DELTA = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


def a_call(
    body: bytes = BODY, *, stream: bool = False, task: Task = "chat", deadline: float = 1e9
) -> Call:
    return Call(id="c1", model="m", task=task, body=body, stream=stream, deadline=deadline)


@contextlib.asynccontextmanager
async def upstream(
    clock: FakeClock, *answers: bytes, **settings: Any
) -> AsyncIterator[tuple[OpenAICompatible, Scripted]]:
    """An adapter, started, in front of a scripted server."""
    async with scripted(*answers) as (script, url):
        settings = {"base_url": url + "/v1", "api_key": Secret(KEY), **settings}
        backend = OpenAICompatible("up", OpenAISettings(**settings), clock)
        await backend.start()
        try:
            yield backend, script
        finally:
            await backend.aclose()


async def read_all(reply: Reply) -> list[Chunk]:
    assert reply.chunks is not None
    return [chunk async for chunk in reply.chunks]


async def error_of(clock: FakeClock, reply: bytes, *, stream: bool = False) -> BackendError:
    async with upstream(clock, reply) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(stream=stream))
        assert "0 active" in repr(backend)
        return caught.value


# --- whole answers ------------------------------------------------------------------------------


async def test_a_body_passes_through_byte_for_byte_both_ways(clock: FakeClock) -> None:
    odd = b'{"choices" : [{"text":""} ], "unknown":[1.0,2] }'
    async with upstream(clock, answer(odd)) as (backend, script):
        reply = await backend.invoke(a_call())
    assert script.requests[0].body == BODY
    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert reply.body == odd


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_the_base_url_may_or_may_not_end_in_v1(clock: FakeClock, suffix: str) -> None:
    async with scripted(answer(WHOLE), answer(VECTORS)) as (script, url):
        backend = OpenAICompatible("up", OpenAISettings(base_url=url + "/p" + suffix), clock)
        await backend.start()
        await backend.invoke(a_call())
        await backend.invoke(a_call(task="embeddings"))
        await backend.aclose()
    assert script.targets() == ["POST /p/v1/chat/completions", "POST /p/v1/embeddings"]


async def test_usage_and_wall_time_are_read_from_a_whole_answer(clock: FakeClock) -> None:
    async with upstream(clock, answer(WHOLE)) as (backend, _):
        usage = (await backend.invoke(a_call())).usage
    assert (usage.input_tokens, usage.output_tokens) == (3, 2)
    assert usage.exec_s is not None
    assert not usage.reported


async def test_another_name_for_the_model_changes_that_field_alone(clock: FakeClock) -> None:
    async with upstream(clock, answer(WHOLE), model="theirs/m-8b") as (backend, script):
        await backend.invoke(a_call())
    sent = script.requests[0].body
    assert b'"odd_field":1.50' in sent
    assert json.loads(sent) == {"model": "theirs/m-8b", "messages": [], "odd_field": 1.5}


async def test_infer_goes_to_its_path_and_is_refused_without_one(clock: FakeClock) -> None:
    async with upstream(clock, answer([1, 2]), infer_path="/predict") as (backend, script):
        assert (await backend.invoke(a_call(b'"any json"', task="infer"))).body == b"[1,2]"
        assert script.targets() == ["POST /predict"]
    async with upstream(clock) as (backend, _):
        assert "infer" not in backend.capabilities.tasks
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(task="infer"))
        assert caught.value.failure is FailureClass.UNSUPPORTED


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer({"error": {"message": "bad", "code": 400}}, 400), FailureClass.INVALID),
        (answer({"detail": "Invalid API key"}, 401), FailureClass.CREDENTIAL),
        (answer({"detail": "Not Found"}, 404), FailureClass.GONE),
        (answer(b"", 408), FailureClass.TIMEOUT),
        (answer(b"", 413), FailureClass.TOO_LARGE),
        (answer({"error": {"message": "slow down"}}, 429), FailureClass.OVERLOADED),
        (answer(b"<html>", 502, "text/html"), FailureClass.FAILED),
        (answer(b"Loading model", 503, "text/plain"), FailureClass.LOADING),
        (answer(b"gateway time-out", 504), FailureClass.TIMEOUT),
        (answer({"error": {"message": "x", "code": 404}}), FailureClass.GONE),
        (answer(b"<html>hello</html>", 200, "text/html"), FailureClass.MALFORMED),
        (answer(b'{"choices": [', 200), FailureClass.MALFORMED),
        (answer(b"", 200), FailureClass.MALFORMED),
        (answer(b"[]", 200), FailureClass.MALFORMED),
        (b"", FailureClass.AMBIGUOUS),
        (answer(WHOLE)[:-5] + CUT, FailureClass.TRUNCATED),
    ],
)
async def test_every_failure_of_a_whole_answer_has_its_class(
    clock: FakeClock, reply: bytes, expected: FailureClass
) -> None:
    assert (await error_of(clock, reply)).failure is expected


async def test_a_429_brings_its_retry_after(clock: FakeClock) -> None:
    error = await error_of(clock, answer({"error": {"message": "later"}}, 429, Retry_After="3"))
    assert (error.retry_after, error.message) == (3.0, "later")


async def test_our_key_is_in_no_message_detail_or_repr(clock: FakeClock) -> None:
    reply = answer({"error": {"message": f"key {KEY} of org 7"}}, 500)
    async with upstream(clock, reply) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call())
        assert KEY not in caught.value.message + caught.value.detail + repr(backend)


async def test_the_deadline_of_a_call_is_kept(clock: FakeClock) -> None:
    async with upstream(clock, STALL) as (backend, _):
        started = clock.monotonic()
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(a_call(deadline=started + 2.0)))
        assert caught.value.failure is FailureClass.TIMEOUT
        assert clock.monotonic() - started < 2.2


async def test_a_call_without_a_deadline_ends_at_the_backends_own(clock: FakeClock) -> None:
    async with upstream(clock, STALL, timeout=30.0) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(a_call(deadline=float("inf"))))
        assert caught.value.failure is FailureClass.TIMEOUT


# --- streams ------------------------------------------------------------------------------------


async def test_a_stream_ends_with_all_that_was_used(clock: FakeClock) -> None:
    reply = chunked(DELTA, DELTA + FINISH, USAGE, DONE)
    async with upstream(clock, reply) as (backend, _):
        chunks = await read_all(await backend.invoke(a_call(stream=True)))
        assert "0 active" in repr(backend)
    assert b"".join(chunk.data for chunk in chunks) == DELTA * 2 + FINISH + USAGE + DONE
    assert [chunk.kind for chunk in chunks][-2:] == ["usage", "done"]
    last = chunks[-1].usage
    assert last is not None
    assert (last.input_tokens, last.output_tokens) == (3, 2)
    assert last.exec_s is not None


async def test_a_stream_asks_for_usage_when_the_caller_did_not(clock: FakeClock) -> None:
    """A splice at the end: the caller's own bytes stay as they are."""
    async with upstream(clock, chunked(DELTA, DONE)) as (backend, script):
        await read_all(await backend.invoke(a_call(stream=True)))
    sent = script.requests[0].body
    assert sent.startswith(BODY.rstrip(b" }"))
    assert json.loads(sent)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (b'{"stream_options":{"include_usage":true}}', {"include_usage": True}),
        (b'{"stream_options":{"include_usage":false,"x":1}}', {"include_usage": True, "x": 1}),
        (b'{"stream_options":null}', {"include_usage": True}),
        (b"{}", {"include_usage": True}),
        (b'{"note":"\\"stream_options\\""}', {"include_usage": True}),
    ],
)
async def test_stream_options_of_the_caller_are_kept(
    clock: FakeClock, body: bytes, options: dict[str, Any]
) -> None:
    async with upstream(clock, chunked(DELTA, DONE)) as (backend, script):
        await read_all(await backend.invoke(a_call(body, stream=True)))
    assert json.loads(script.requests[0].body)["stream_options"] == options


async def test_a_server_that_refuses_stream_options_is_not_sent_them(clock: FakeClock) -> None:
    async with upstream(clock, chunked(DELTA, DONE), stream_usage=False) as (backend, script):
        await read_all(await backend.invoke(a_call(stream=True)))
    assert script.requests[0].body == BODY


async def test_a_missing_done_after_a_finish_reason_is_an_end(clock: FakeClock) -> None:
    async with upstream(clock, chunked(DELTA, FINISH)) as (backend, _):
        chunks = await read_all(await backend.invoke(a_call(stream=True)))
    assert b"".join(chunk.data for chunk in chunks) == DELTA + FINISH + DONE
    assert chunks[-1].kind == "done"


@pytest.mark.parametrize(
    "reply",
    [
        chunked(DELTA),
        chunked(DELTA, end=False) + CUT,
        chunked(DELTA, DELTA[:20]),
        chunked(DELTA, b'data: {"error":{"message":"engine died","code":500}}\n\n', DONE),
    ],
    ids=["no-done-no-finish-reason", "cut", "inside-an-event", "error-frame"],
)
async def test_a_stream_that_breaks_after_its_first_event_is_truncated(
    clock: FakeClock, reply: bytes
) -> None:
    """The official client takes the first of these for a whole answer; we must not."""
    async with upstream(clock, reply) as (backend, _):
        answered = await backend.invoke(a_call(stream=True))
        assert answered.chunks is not None
        assert (await anext(answered.chunks)).data == DELTA
        with pytest.raises(BackendError) as caught:
            await anext(answered.chunks)
        assert caught.value.failure is FailureClass.TRUNCATED
        assert "0 active" in repr(backend)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (chunked(), FailureClass.MALFORMED),
        (chunked(b": hello\n\n"), FailureClass.MALFORMED),
        (chunked(b'data: {"error":{"message":"m","code":400}}\n\n', DONE), FailureClass.INVALID),
        (chunked(b'data: {"error":{"message":"m","code":503}}\n\n'), FailureClass.OVERLOADED),
        (chunked(b"data: <html>\n\n"), FailureClass.MALFORMED),
        (chunked(end=False) + CUT, FailureClass.TRUNCATED),
        (answer({"error": {"message": "m"}}, 500), FailureClass.FAILED),
        (answer({"error": {"message": "m", "code": 404}}), FailureClass.GONE),
        (answer(b"<html>", content_type="text/html"), FailureClass.MALFORMED),
        (answer(b"<html>", content_type="text/event-stream"), FailureClass.MALFORMED),
        (answer(b"", content_type="text/event-stream"), FailureClass.MALFORMED),
        (b"", FailureClass.AMBIGUOUS),
    ],
)
async def test_a_stream_that_fails_before_its_first_event_fails_in_invoke(
    clock: FakeClock, reply: bytes, expected: FailureClass
) -> None:
    """So that another backend can still be asked; a 200 with no event is no empty answer."""
    assert (await error_of(clock, reply, stream=True)).failure is expected


async def test_a_stream_that_the_caller_leaves_closes_its_connection(clock: FakeClock) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(DELTA, end=False))
        await reader.read()

    async with RawServer(talk).running() as server:
        backend = OpenAICompatible("up", OpenAISettings(base_url=server.url), clock)
        await backend.start()
        reply = await backend.invoke(a_call(stream=True))
        assert reply.chunks is not None
        await reply.chunks.aclose()  # type: ignore[attr-defined]
        assert "0 active, 0 idle" in repr(backend)
        while server.open:
            await settle()
        await backend.aclose()


async def test_a_call_cancelled_before_the_first_event_leaves_no_connection(
    clock: FakeClock,
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(end=False))
        await reader.read()

    async with RawServer(talk).running() as server:
        backend = OpenAICompatible("up", OpenAISettings(base_url=server.url), clock)
        await backend.start()
        task = asyncio.ensure_future(backend.invoke(a_call(stream=True)))
        while not server.open:
            await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "0 active, 0 idle" in repr(backend)
        await backend.aclose()


async def test_a_server_that_never_closes_after_done_holds_nobody(clock: FakeClock) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(DELTA, DONE, end=False))
        await reader.read()

    async with RawServer(talk).running() as server:
        backend = OpenAICompatible("up", OpenAISettings(base_url=server.url), clock)
        await backend.start()
        chunks = await read_all(await backend.invoke(a_call(stream=True)))
        assert chunks[-1].kind == "done"
        await clock.advance(1.5)
        assert "0 active" in repr(backend)
        await backend.aclose()


async def test_tokens_that_an_infer_answer_tells_in_openais_words_are_counted(
    clock: FakeClock,
) -> None:
    told = answer({"text": "hi", "usage": {"prompt_tokens": 10, "completion_tokens": 5}})
    async with upstream(clock, told, answer([{"usage": 1}]), infer_path="/i") as (backend, _):
        used = (await backend.invoke(a_call(b"{}", task="infer"))).usage
        assert (used.input_tokens, used.output_tokens) == (10, 5)
        used = (await backend.invoke(a_call(b"{}", task="infer"))).usage
        assert (used.input_tokens, used.output_tokens) == (None, None)


async def test_an_infer_stream_is_passed_on_unread(clock: FakeClock) -> None:
    odd = b'event: x\ndata: {"error": "is part of it"}\n\n'
    async with upstream(clock, chunked(odd, odd), infer_path="/i") as (backend, _):
        chunks = await read_all(await backend.invoke(a_call(stream=True, task="infer")))
    assert b"".join(chunk.data for chunk in chunks) == odd * 2


async def test_an_infer_stream_answered_whole_becomes_one_event(clock: FakeClock) -> None:
    async with upstream(clock, answer({"a": 1}), infer_path="/i") as (backend, _):
        chunks = await read_all(await backend.invoke(a_call(stream=True, task="infer")))
    assert [chunk.data for chunk in chunks] == [b'data: {"a":1}\n\n']


# --- probes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "ready", "detail"),
    [
        ([answer(b"")], True, ""),
        ([answer(b"", 503)], False, "/health answers 503"),
        ([answer(b"", 404), answer({"data": []})], True, ""),
        ([answer(b"", 404), answer(b"", 401)], False, "/v1/models answers 401"),
        ([b""], False, "closed the connection"),
    ],
)
async def test_a_probe_asks_health_and_then_models(
    clock: FakeClock, answers: list[bytes], ready: bool, detail: str
) -> None:
    async with upstream(clock, *answers, engine="none") as (backend, _):
        probe = await backend.probe()
    assert probe.ready is ready
    assert detail in probe.detail


async def test_a_probe_of_a_server_that_hangs_ends_in_five_seconds(clock: FakeClock) -> None:
    async with upstream(clock, STALL) as (backend, _):
        started = clock.monotonic()
        probe = await drive(clock, backend.probe())
        assert not probe.ready
        assert clock.monotonic() - started < 5.3


async def test_the_usage_of_a_reply_without_counts_is_unknown_and_not_zero(
    clock: FakeClock,
) -> None:
    async with upstream(clock, answer(VECTORS)) as (backend, _):
        usage = (await backend.invoke(a_call(task="embeddings"))).usage
    assert usage == Usage(exec_s=usage.exec_s)
