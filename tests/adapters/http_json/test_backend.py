"""A JSON endpoint by a declared mapping: what is sent, what is read, what a status means."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass, Fault, Ran
from adapters.http_json import HttpJson, HttpJsonSettings, Template, at_path
from adapters.settings import Secret, SettingError
from adapters.types import Call, Task, TokenParts
from gateway.clock import FakeClock
from tests.adapters.servers import CUT, Scripted, answer, chunked, drive, scripted
from tests.adapters.test_contract import whole

KEY = "http-secret-4711"


def a_call(body: bytes = b'{"x":1}', *, stream: bool = False, task: Task = "infer") -> Call:
    return Call(id="c1", model="m", task=task, body=body, stream=stream)


@contextlib.asynccontextmanager
async def server(
    clock: FakeClock, *answers: bytes, **settings: Any
) -> AsyncIterator[tuple[HttpJson, Scripted]]:
    async with scripted(*answers) as (script, url):
        given = {"base_url": url, "secret_headers": {"X-Key": Secret(KEY)}, **settings}
        backend = HttpJson("http", HttpJsonSettings(**given), clock)
        await backend.start()
        try:
            yield backend, script
        finally:
            await backend.aclose()


async def failing(
    clock: FakeClock, *answers: bytes, call: Call | None = None, **settings: Any
) -> BackendError:
    async with server(clock, *answers, **settings) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await whole(await drive(clock, backend.invoke(call or a_call())))
        return caught.value


# --- what is sent -------------------------------------------------------------------------------


async def test_without_a_template_the_callers_bytes_are_sent_as_they_are(clock: FakeClock) -> None:
    odd = b'{ "x":1.50, "unknown":[] }'
    async with server(clock, answer(b'{"y": 2.50}'), path="/go", method="PUT") as (backend, script):
        reply = await backend.invoke(a_call(odd))
    assert script.targets() == ["PUT /go"]
    assert script.requests[0].body == odd
    assert script.requests[0].headers["x-key"] == KEY
    assert reply.body == b'{"y": 2.50}'


async def test_a_template_puts_the_call_where_the_server_wants_it(clock: FakeClock) -> None:
    request = {"in": {"data": "$body"}, "id": "$id", "m": ["$model"], "note": "a $body of text"}
    async with server(clock, answer({}), request=request) as (backend, script):
        await backend.invoke(a_call(b'{"x": 1.50}'))
    assert script.requests[0].body == (
        b'{"in":{"data":{"x": 1.50}},"id":"c1","m":["m"],"note":"a $body of text"}'
    )


@pytest.mark.parametrize(
    "request_", [{}, {"a": "$body", "b": "$body"}, {"$body": 1}, {"a": "$body", "$id": 1}]
)
def test_a_template_that_cannot_hold_a_call_is_refused_at_once(request_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\$body"):
        Template(request_)


@pytest.mark.parametrize("status", ["abc", "99", "600", "-1", ""])
def test_a_status_that_is_none_is_refused_with_the_settings(status: str) -> None:
    with pytest.raises(ValueError, match="no HTTP status"):
        HttpJsonSettings(base_url="http://127.0.0.1", statuses={status: "loading"})


@pytest.mark.parametrize("body", [b'{}},"admin":{', b"{}x", b"", b"\xff"])
async def test_a_body_that_would_break_out_of_the_template_is_never_sent(
    clock: FakeClock, body: bytes
) -> None:
    async with server(clock, request={"in": "$body"}) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(body))
        assert caught.value.failure is FailureClass.INVALID
        assert not script.requests


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", b'{"a": [{"b": 1.50}, null], "c": "x"}'),
        ("a.0.b", b"1.50"),
        ("a.1", b"null"),
        ("c", b'"x"'),
        ("a.2", None),
        ("a.b", None),
        ("c.d", None),
        ("nothing", None),
    ],
)
def test_a_dotted_path_finds_the_bytes_that_stand_there(path: str, found: bytes | None) -> None:
    assert at_path(b'{"a": [{"b": 1.50}, null], "c": "x"}', path) == found


async def test_the_seconds_that_the_server_states_are_reported(clock: FakeClock) -> None:
    answers = [answer({"t": {"run": 0.5}}), answer({"t": "?"})]
    async with server(clock, *answers, seconds="t.run") as (backend, _):
        stated = (await backend.invoke(a_call())).usage
        timed = (await backend.invoke(a_call())).usage
    assert (stated.exec_s, stated.reported) == (0.5, True)
    assert (timed.exec_s, timed.reported) == (0.0, False)


async def test_what_the_server_says_that_it_used_is_read_beside_its_output(
    clock: FakeClock,
) -> None:
    """Here in the words of Anthropic's messages, whose cached tokens stand beside the others."""
    told = {"content": "hi", "usage": {"input_tokens": 5, "cache_read_input_tokens": 7}}
    async with server(clock, answer(told), response="content") as (backend, _):
        reply = await backend.invoke(a_call())
    assert reply.body == b'"hi"'
    assert (reply.usage.input_tokens, reply.usage.parts) == (12, TokenParts(cached=7))


@pytest.mark.parametrize(("gpu", "device"), [("A100", "A100"), (7, None), (None, None)], ids=str)
async def test_what_a_call_ran_on_is_read_where_the_policy_says(
    gpu: object, device: str | None, clock: FakeClock
) -> None:
    async with server(clock, answer({"meta": {"gpu": gpu}}), device="meta.gpu") as (backend, _):
        assert (await backend.invoke(a_call())).usage.device == device


async def test_an_answer_that_is_no_json_passes_where_nothing_is_read_from_it(
    clock: FakeClock,
) -> None:
    picture = answer(b"\x89PNG", content_type="image/png")
    async with server(clock, picture) as (backend, _):
        reply = await backend.invoke(a_call())
    assert (reply.body, reply.content_type) == (b"\x89PNG", "image/png")


@pytest.mark.parametrize(
    ("reply", "settings", "expected"),
    [
        (answer({"ok": 1}), {"response": "result"}, FailureClass.FAILED),
        (answer(b'{"a'), {}, FailureClass.MALFORMED),
        (answer({"err": {"message": "boo"}}), {"error": "err"}, FailureClass.FAILED),
        (answer({}, 400), {}, FailureClass.INVALID),
        (answer({}, 401), {}, FailureClass.CREDENTIAL),
        (answer({}, 404), {}, FailureClass.GONE),
        (answer({}, 429), {}, FailureClass.OVERLOADED),
        (answer({}, 500), {}, FailureClass.FAILED),
        (answer({"error": "model is loading"}, 503), {}, FailureClass.LOADING),
        (answer({}, 302), {}, FailureClass.GONE),
        (answer({}, 500), {"statuses": {"500": "worker_died"}}, FailureClass.WORKER_DIED),
        (answer({}, 202), {"statuses": {"202": "loading"}}, FailureClass.LOADING),
        (b"", {}, FailureClass.AMBIGUOUS),
        (answer({"x": 1})[:-2] + CUT, {}, FailureClass.TRUNCATED),
    ],
)
async def test_every_end_has_the_class_that_http_or_the_policy_gives_it(
    clock: FakeClock, reply: bytes, settings: dict[str, Any], expected: FailureClass
) -> None:
    assert (await failing(clock, reply, **settings)).failure is expected


async def test_an_error_of_the_server_is_told_without_the_key(clock: FakeClock) -> None:
    error = await failing(clock, answer({"err": f"bad key {KEY}"}), error="err")
    assert error.message == "bad key ***"


async def test_a_delay_is_kept_when_the_policy_names_the_status(clock: FakeClock) -> None:
    error = await failing(clock, answer({}, 529, retry_after="7"), statuses={"529": "overloaded"})
    assert (error.failure, error.retry_after) == (FailureClass.OVERLOADED, 7.0)


# --- streams and probes -------------------------------------------------------------------------


async def test_a_server_without_a_stream_path_is_asked_for_no_stream(clock: FakeClock) -> None:
    async with server(clock) as (backend, script):
        assert not backend.capabilities.streaming
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(stream=True))
        assert caught.value.failure is FailureClass.UNSUPPORTED
        assert not script.requests


@pytest.mark.parametrize(
    ("stream", "task", "expected"),
    [
        (chunked(), "infer", FailureClass.MALFORMED),
        (chunked(b'data: {"a":1}\n\n', end=False) + CUT, "infer", FailureClass.TRUNCATED),
        (chunked(b'data: {"choices":[]}\n\n'), "chat", FailureClass.MALFORMED),
        (chunked(b'data: {"error":{"code":400}}\n\n'), "chat", FailureClass.INVALID),
        (answer(b"<p>", content_type="text/html"), "infer", FailureClass.MALFORMED),
        (answer({"a": 1}), "chat", FailureClass.MALFORMED),
        (answer({}, 429), "infer", FailureClass.OVERLOADED),
        (answer({}, 202), "infer", FailureClass.LOADING),
    ],
)
async def test_a_stream_that_is_cut_empty_or_none_is_a_failure(
    clock: FakeClock, stream: bytes, task: Task, expected: FailureClass
) -> None:
    call = a_call(stream=True, task=task)
    settings = {"stream_path": "/s", "openai": True, "statuses": {"202": "loading"}}
    assert (await failing(clock, stream, call=call, **settings)).failure is expected


async def test_an_openai_stream_ends_in_done_with_its_tokens(clock: FakeClock) -> None:
    stream = chunked(
        b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
        b"data: [DONE]\n\n",
    )
    async with server(clock, stream, stream_path="/s", openai=True) as (backend, _):
        reply = await backend.invoke(a_call(stream=True, task="chat"))
        assert reply.chunks is not None
        chunks = [chunk async for chunk in reply.chunks]
    assert [chunk.kind for chunk in chunks] == ["data", "usage", "done"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.output_tokens == 2


@pytest.mark.parametrize(("status", "ready"), [(200, True), (204, False), (503, False)])
async def test_a_probe_believes_200_of_the_health_path_alone(
    clock: FakeClock, status: int, ready: bool
) -> None:
    async with server(clock, answer({}, status), health_path="/up") as (backend, script):
        assert (await backend.probe()).ready is ready
    assert script.targets() == ["GET /up"]


async def test_a_server_without_a_health_path_is_taken_to_be_ready(clock: FakeClock) -> None:
    async with server(clock) as (backend, script):
        assert (await backend.probe()).ready
        assert not script.requests


# --- what a platform says of its endpoint ---------------------------------------------------------

WORDS = {"app is warming": "loading", "no gpu of this type": "overloaded", "unknown app": "gone"}


@pytest.mark.parametrize("status", [200, 400, 403, 404, 409, 422, 500, 503])
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("The App is warming, try later", FailureClass.LOADING),
        ("no GPU of this type is free", FailureClass.OVERLOADED),
        ("unknown app 'x'", FailureClass.GONE),
    ],
)
async def test_words_that_are_declared_mean_what_they_are_declared_to_under_any_status(
    said: str, kind: FailureClass, status: int, clock: FakeClock
) -> None:
    """Nothing has run, and one refusal alone blames neither."""
    settings: dict[str, Any] = {"words": WORDS, "error": "error", "response": "output"}
    for body in ({"error": said}, {"message": said}, {"error": {"message": said}}):
        error = await failing(clock, answer(body, status), **settings)
        assert (error.failure, error.fault, error.ran) == (kind, Fault.SUSPECT, Ran.NO)
        assert error.usage is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("endpoint is paused", FailureClass.GONE),
        ("Deployment my-app-1 not found", FailureClass.GONE),
        ("no workers available", FailureClass.OVERLOADED),
        ("the endpoint is not yet ready", FailureClass.LOADING),
        ("insufficient credits", FailureClass.QUOTA),
    ],
)
async def test_what_all_platforms_say_is_believed_where_a_platform_runs_the_endpoint(
    said: str, kind: FailureClass, clock: FakeClock
) -> None:
    refusal = answer({"error": said}, 400)
    assert (await failing(clock, refusal, platform=True)).failure is kind
    assert (await failing(clock, refusal)).failure is not FailureClass.OVERLOADED
    of_code = await failing(clock, answer({"error": said}, 500), platform=True)
    assert of_code.failure is FailureClass.FAILED


@pytest.mark.parametrize("platform", [False, True])
async def test_what_is_wrong_with_a_request_stays_the_requests(
    platform: bool, clock: FakeClock
) -> None:
    refusal = answer({"error": "steps must be below 50"}, 422)
    error = await failing(clock, refusal, platform=platform, words=WORDS)
    assert (error.failure, error.status) == (FailureClass.INVALID, 422)


async def test_a_declared_failure_of_the_code_is_charged_as_one(clock: FakeClock) -> None:
    settings: dict[str, Any] = {"words": {"out of memory": "failed"}, "error": "error"}
    error = await failing(clock, answer({"error": "CUDA out of memory"}), **settings)
    assert (error.failure, error.ran) == (FailureClass.FAILED, Ran.MAYBE)
    assert error.usage is not None


def test_words_that_are_none_are_refused() -> None:
    with pytest.raises(SettingError, match="every refusal"):
        HttpJsonSettings(base_url="http://127.0.0.1", words={" ": "loading"})
